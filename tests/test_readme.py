"""The README's commands and blocks, as they stand. Those of the clients are run in tests/interop."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.examples import ACCESS_KEY, SECRET_KEY
from support.readme import README, blocks
from support.subject import iamcacheauth

MODULE = Path(iamcacheauth.__file__)
pytestmark = pytest.mark.skipif(not README.exists(), reason="a vendored copy comes without the README")


def run(command: str, folder: Path) -> str:
    """What a shell prints in a folder with the module in it, this Python being python3."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "python3").symlink_to(sys.executable)
    (folder / "iamcacheauth.py").write_bytes(MODULE.read_bytes())
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["sh", "-ec", command], cwd=folder, env=environment, check=True, stdout=-1, text=True).stdout


@pytest.mark.commands
def test_the_first_command_prints_a_token(tmp_path: Path) -> None:
    (command,) = blocks("sh", "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE")
    assert command.count("\n") == 1
    token = run(command, tmp_path)
    assert re.fullmatch(r"my-cache/\?Action=connect&User=my-iam-user&\S+&X-Amz-Signature=[0-9a-f]{64}\n", token)


def test_the_second_command_is_one_line() -> None:
    (command,) = blocks("sh", "-m venv .venv &&")
    assert command.count("\n") == 1


def test_a_lambda_layer_carries_the_file_and_its_bytecode(tmp_path: Path) -> None:
    (command,) = blocks("sh", "compileall")
    run(command, tmp_path)
    with zipfile.ZipFile(tmp_path / "layer.zip") as layer:
        layer.extractall(tmp_path / "opt")
    (bytecode,) = (tmp_path / "opt" / "python" / "__pycache__").iterdir()
    assert int.from_bytes(bytecode.read_bytes()[4:8], "little") == 0b01  # by hash, and not to be checked
    code = f"import sys; sys.path[0] = {str(tmp_path / 'opt' / 'python')!r}; import iamcacheauth"
    done = subprocess.run([sys.executable, "-v", "-c", code], check=True, stderr=subprocess.PIPE, text=True)
    assert f"code object from '{bytecode}'" in done.stderr


def test_the_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setitem(sys.modules, "iamcacheauth", iamcacheauth)
    (code,) = blocks("python", "MemoryDBAuth")
    names: dict[str, object] = {}
    exec(code, names)
    assert isinstance(names["auth"], iamcacheauth.MemoryDBAuth)


def test_credentials_of_a_boto_session(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("botocore")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    (code,) = blocks("python", "get_session()")
    names: dict[str, object] = {"ElastiCacheAuth": iamcacheauth.ElastiCacheAuth}
    exec(code, names)
    assert ACCESS_KEY in names["auth"].token()  # type: ignore[attr-defined]


def test_credentials_exported_by_the_aws_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    aws = tmp_path / "aws"
    answer = f'{{"Version": 1, "AccessKeyId": "{ACCESS_KEY}", "SecretAccessKey": "{SECRET_KEY}"}}'
    expected = "configure export-credentials --profile my-profile --format process"
    aws.write_text(f"#!/bin/sh\n[ \"$*\" = '{expected}' ] && echo x >> '{tmp_path}/calls' && echo '{answer}'\n")
    aws.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setitem(sys.modules, "iamcacheauth", iamcacheauth)
    (code,) = blocks("python", "export-credentials")
    names: dict[str, object] = {}
    exec(code, names)
    assert ACCESS_KEY in names["auth"].token()  # type: ignore[attr-defined]
    assert ACCESS_KEY in names["auth"].token()  # type: ignore[attr-defined]
    assert (tmp_path / "calls").read_text() == "x\n"
