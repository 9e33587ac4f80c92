"""Instance metadata as instances and emulators have it: keys past their end, answers without a code, odd names."""

from __future__ import annotations

import itertools
import json

import pytest
from support.asking import LONG, SOURCES, failure, fields, refused, retrieve
from support.callers import CALLERS
from support.examples import NOON, read
from support.loopback import Imds, iso8601, reply
from support.subject import iamcacheauth

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver")

MINUTE = 60
ROLES = "/latest/meta-data/iam/security-credentials/"


# --- static stability ---


@pytest.mark.parametrize("ago", [0, 1, 3600, 20 * 365 * 86400])
def test_keys_that_are_handed_out_expired_are_used_on(imds, clock, ago):
    """AWS extends them during an outage of its own."""
    imds.issued["Expiration"] = iso8601(NOON - ago)
    credentials = retrieve(imds.environ)
    assert (credentials.secret_key, credentials.token) == (imds.issued["SecretAccessKey"], imds.issued["Token"])
    assert NOON + 2 * MINUTE < credentials.expiration <= NOON + 60 * MINUTE


@pytest.mark.parametrize("kind", CALLERS)
def test_expired_keys_sign_whoever_asks(imds, kind):
    imds.issued["Expiration"] = "2001-01-01T00:00:00Z"
    credentials = iamcacheauth.EnvironmentCredentials(imds.environ, timeout=LONG)
    outcomes = CALLERS[kind](iamcacheauth.ElastiCacheAuth("user", "cache", region="us-east-1", credentials=credentials))
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    assert len(imds.requests) == 3


def test_an_outage_of_an_hour(imds, clock):
    """Tokens all the time, and the source is not asked at every one of them."""
    imds.issued["Expiration"] = iso8601(NOON - 1)
    provider = iamcacheauth.EnvironmentCredentials(imds.environ, timeout=LONG)
    for _ in range(360):
        credentials = provider()
        assert credentials.expiration > clock.now
        clock.now += 10
    assert len(imds.requests) <= 3 * 60
    imds.issued.update(Token="after-the-outage", Expiration=iso8601(clock.now + 6 * 3600))
    clock.now += 60 * MINUTE
    assert provider().token == "after-the-outage"


def test_expired_keys_of_other_sources_stay_an_error(sts, container):
    for server in (sts, container):
        server.issued["Expiration"] = "2001-01-01T00:00:00Z"
        assert "expired at 2001-01-01T00:00:00Z" in failure(server.environ)


# --- the code ---


@pytest.mark.parametrize("code", [{}, {"Code": "Success"}, {"Code": "Success", "Message": "?"}])
def test_an_answer_with_or_without_a_code(imds, code):
    """Emulators leave it out."""
    imds.faults["credentials"] = iter([reply(200, json.dumps({**imds.issued, **code}))])
    assert fields(retrieve(imds.environ)) == imds.issued


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role"}, ": EC2 cannot assume"),
        ({"Code": "Failed"}, "Failed"),
        ({"Code": "success"}, "success"),
        ({"Code": "Failed", "Message": ["EC2"]}, "Failed"),
    ],
)
@pytest.mark.parametrize("keys", [True, False])
def test_another_code_is_an_error(imds, answer, said, keys):
    answer = {**(imds.issued if keys else {}), **answer}
    imds.faults["credentials"] = itertools.repeat(reply(200, json.dumps(answer)))
    message = failure(imds.environ, secrets=imds.secrets)
    assert message.startswith(SOURCES[Imds])
    assert answer["Code"] in message
    assert said in message


@pytest.mark.parametrize("code", [1, True, ["Success"], {"Success": 1}], ids=repr)
def test_a_code_that_is_no_text_is_an_error(imds, code):
    imds.issued["Code"] = code
    assert failure(imds.environ, secrets=imds.secrets).startswith(SOURCES[Imds])


@pytest.mark.parametrize("field", ["SecretAccessKey", "Token"])
def test_a_code_that_repeats_what_it_came_with(imds, field):
    imds.issued["Code"] = imds.issued["Message"] = imds.issued[field]
    refused(iamcacheauth.EnvironmentCredentials(imds.environ, timeout=LONG), imds.secrets)
    imds.issued["Code"] = imds.issued["Message"] = imds.session_token
    refused(iamcacheauth.EnvironmentCredentials(imds.environ, timeout=LONG), imds.secrets)


# --- the role's name ---


@pytest.mark.parametrize("role", ["plain", "with+=,.@_-", "a" * 64, "path/and-name", "100%", "a%2Fb", "it's", "a:b~c"])
def test_the_name_goes_into_the_path_as_it_is(imds, role):
    imds.role = role
    assert fields(retrieve(imds.environ)) == imds.issued
    assert imds.requests[-1].target == ROLES + role


@pytest.mark.parametrize("ending", ["\n", "\r\n", " ", "\n\n"])
def test_the_name_may_end_with_a_line_break(imds, ending):
    imds.faults["role"] = iter([reply(200, imds.role + ending)])
    assert fields(retrieve(imds.environ)) == imds.issued


def test_another_role_of_the_instance(imds, clock):
    """Attached while the process runs: its name is asked at every renewal."""
    imds.issued["Expiration"] = iso8601(NOON + 3600)
    credentials = iamcacheauth.EnvironmentCredentials(imds.environ, timeout=LONG)
    auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=credentials)
    auth.token()
    imds.role = "another"
    imds.issued.update(Token="of-another", Expiration=iso8601(NOON + 7200))
    clock.now += 3600
    assert read(auth.token())[1]["X-Amz-Security-Token"] == "of-another"
