"""The README's set-up of IAM, held against AWS's own models of its commands: nothing here talks to AWS."""

import json
import re
import shlex

import botocore.session
import pytest
import readme
from botocore import xform_name


def blocks(language):
    text = readme.README.read_text(encoding="utf-8")
    set_up = text[text.index("\n## IAM set-up\n") :]
    set_up = set_up[: set_up.index("\n## ", 1)]
    return re.findall(rf"^```{language}\n(.*?)^```$", set_up, re.MULTILINE | re.DOTALL)


def commands():
    lines = "".join(blocks("sh")).replace("\\\n", "").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("aws ")]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_commands_exist_with_these_options(command):
    _, service, operation, *rest = command
    model = botocore.session.get_session().get_service_model(service)
    (name,) = [name for name in model.operation_names if xform_name(name, "-") == operation]
    parameters = model.operation_model(name).input_shape
    given = {word[2:] for word in rest if word.startswith("--")}
    assert given <= {xform_name(parameter, "-") for parameter in parameters.members}
    assert given >= {xform_name(parameter, "-") for parameter in parameters.required_members}


def test_policies_are_json_that_allows_to_connect():
    policies = [json.loads(block) for block in blocks("json")]
    assert [policy["Statement"][0]["Action"] for policy in policies] == ["elasticache:Connect", "memorydb:Connect"]
