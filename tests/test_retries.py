"""What passes is tried again, within the timeout and not all at once; what is final is final at once."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from support.asking import LONG, SHORT, SOURCES, failure, fields, refused, retrieve
from support.callers import CALLERS
from support.examples import TEMPORARY, read
from support.loopback import Imds, Sts, head, iso8601, late, raw, reply, silence, sts_error
from support.roles import FAR_ROLE, RoleSts
from support.subject import iamcacheauth
from support.waiting import SLACK

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver")

ATTEMPTS = 3
THREE_ATTEMPTS = {"AWS_METADATA_SERVICE_NUM_ATTEMPTS": str(ATTEMPTS)}
REQUESTS = {Sts: 1, Imds: 3}  # of a retrieval in which nothing fails


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that were made, none of which takes time."""
    pauses = []
    monkeypatch.setattr(iamcacheauth.time, "sleep", lambda seconds: seconds and pauses.append(seconds))
    return pauses


@pytest.fixture
def assumed_role(monkeypatch):
    """Set up by the environment, which is the only place that an endpoint of one's own can be named in."""

    def make(sts):
        for variable, value in sts.endpoint.items():
            monkeypatch.setenv(variable, value)
        return iamcacheauth.AssumedRole(FAR_ROLE, credentials=TEMPORARY, region="us-east-1", timeout=LONG)

    return make


def environ_of(server):
    return {**server.environ, **(THREE_ATTEMPTS if isinstance(server, Imds) else {})}


def more_requests(server):
    """The requests beyond those of a retrieval in which nothing fails."""
    return len(server.requests) - REQUESTS.get(type(server), 1)


# --- what passes ---

CUT_SHORT = {
    "closed at once": raw(b""),
    "closed in the status line": raw(b"HTTP/1.1 2"),
    "closed in the headers": raw(head(200, "Content-Length: 100")[:-2]),
    "closed in the body": raw(head(200, "Content-Length: 100") + b'{"AccessKeyId": "ASIA'),
    "closed in a chunk": raw(head(200, "Transfer-Encoding: chunked") + b'fff\r\n{"AccessKeyId"'),
    "empty": reply(200),
}
TEMPORARY_ANSWERS = {**{f"status {status}": reply(status) for status in (429, 500, 502, 503, 504)}, **CUT_SHORT}
NO_OBJECT = {
    "half an object": b'{"AccessKeyId": "ASIA',
    "half an element": b"<AssumeRoleWithWebIdentityResponse><Credentials>",
    "a page": b"<!DOCTYPE html>\n<html><body>We are working on it</body></html>",
    "text": b"upstream connect error",
    "no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("answer", TEMPORARY_ANSWERS.values(), ids=TEMPORARY_ANSWERS)
def test_what_passes(operation, pauses, answer):
    server, operation = operation
    server.faults[operation] = iter([answer])
    assert fields(retrieve(environ_of(server))) == server.issued
    assert more_requests(server) == 1
    server.faults[operation] = iter([answer] * (ATTEMPTS - 1))
    assert fields(retrieve(environ_of(server))) == server.issued
    assert len(pauses) == 1 + (ATTEMPTS - 1)


@pytest.mark.parametrize("answer", TEMPORARY_ANSWERS.values(), ids=TEMPORARY_ANSWERS)
def test_what_does_not_pass_after_all(operation, pauses, answer):
    server, operation = operation
    server.faults[operation] = itertools.repeat(answer)
    assert failure(environ_of(server), secrets=server.secrets).startswith(SOURCES[type(server)])
    before = {"role": 1, "credentials": 2}.get(operation, 0) if isinstance(server, Imds) else 0
    assert len(server.requests) == before + ATTEMPTS


@pytest.mark.parametrize("body", NO_OBJECT.values(), ids=NO_OBJECT)
def test_an_answer_that_is_no_object(server, pauses, body):
    """Something between us and the source answered in its place."""
    server.faults["credentials"] = iter([reply(200, body)])
    assert fields(retrieve(environ_of(server))) == server.issued
    assert more_requests(server) == 1


STS_CODES = """Throttling ThrottlingException RequestThrottled TooManyRequestsException RequestLimitExceeded
    RequestTimeout RequestTimeoutException IDPCommunicationError"""


@pytest.mark.parametrize("code", STS_CODES.split())
@pytest.mark.parametrize("status", [400, 403, 409, 503])
def test_codes_of_sts_that_pass_at_any_status(sts, pauses, code, status):
    sts.faults["credentials"] = iter([sts_error(status, code, "Rate exceeded"), sts_error(status, code, "Once more")])
    assert fields(retrieve(sts.environ)) == sts.issued
    assert len(sts.requests) == ATTEMPTS
    sts.faults["credentials"] = itertools.repeat(sts_error(status, code, "Rate exceeded"))
    assert failure(sts.environ).endswith(f"HTTP status {status}, {code}: Rate exceeded")


@pytest.mark.parametrize("capitals", [str.lower, str.capitalize])
def test_codes_of_other_services_that_pass_at_any_status(container, pauses, capitals):
    said = reply(400, json.dumps({capitals("code"): "ThrottlingException", capitals("message"): "Rate exceeded"}))
    container.faults["credentials"] = iter([said, said])
    assert fields(retrieve(container.environ)) == container.issued


@pytest.mark.parametrize("code", STS_CODES.split())
def test_codes_that_pass_when_a_role_is_assumed(pauses, assumed_role, code):
    with RoleSts() as sts:
        sts.faults["assume"] = iter([sts_error(400, code, "Rate exceeded")])
        assert assumed_role(sts)().token == sts.issued["Token"]
        assert len(sts.requests) == 2


def test_instance_metadata_has_one_attempt_unless_more_are_set(imds, pauses):
    """AWS's own default: instances without a role, and machines elsewhere, are not to be slow."""
    imds.faults["token"] = iter([reply(429)])
    assert "HTTP status 429" in failure(imds.environ)
    assert (len(imds.requests), pauses) == (1, [])


# --- what is final ---

FINAL = {
    **{f"status {status}": reply(status) for status in (301, 307, 400, 401, 403, 404, 405, 410, 418)},
    "AccessDenied": sts_error(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"),
    "ExpiredTokenException": sts_error(400, "ExpiredTokenException", "Token expired"),
    "ExpiredToken": sts_error(403, "ExpiredToken", "The security token included in the request is expired"),
    "InvalidParameterValue": sts_error(400, "InvalidParameterValue", "Throttling is not what this is about"),
    "no association": reply(404, "[0c2b]: (ResourceNotFoundException): No association found"),
    "access denied by the agent": reply(400, "[0c2b]: (AccessDeniedException): Unauthorized"),
    "no code of STS's": reply(400, json.dumps({"code": "IDPCommunicationErrors", "message": "Throttling"})),
}


@pytest.mark.parametrize("answer", FINAL.values(), ids=FINAL)
def test_what_is_final(operation, pauses, answer):
    server, operation = operation
    server.faults[operation] = iter([answer])
    assert failure(environ_of(server), secrets=server.secrets).startswith(SOURCES[type(server)])
    before = {"role": 1, "credentials": 2}.get(operation, 0) if isinstance(server, Imds) else 0
    assert len(server.requests) == before + 1
    assert pauses == []


def test_what_is_final_after_something_that_passes(container, pauses):
    container.faults["credentials"] = iter([reply(503), reply(403, "no longer yours")])
    assert failure(container.environ).endswith("HTTP status 403, no longer yours")
    assert len(container.requests) == 2


@pytest.mark.parametrize("field", ["AccessKeyId", "SecretAccessKey", "Token", "Expiration"])
def test_a_whole_answer_without_good_credentials_is_final(server, pauses, field):
    del server.issued[field]
    failure(environ_of(server))
    assert more_requests(server) == 0


@pytest.mark.parametrize("server", ["sts", "container"], indirect=True)
def test_expired_credentials_are_final(server, pauses):
    server.issued["Expiration"] = "2001-01-01T00:00:00Z"
    message = failure(server.environ)
    assert message == f"{SOURCES[type(server)]}it gave credentials, but they expired at 2001-01-01T00:00:00Z"
    assert more_requests(server) == 0


# --- when ---


def test_pauses_double_and_are_random(container, pauses):
    """A thousand pods that start together do not come back together."""
    fetches = 60
    container.faults["credentials"] = itertools.repeat(reply(429))
    for _ in range(fetches):
        failure(container.environ)
    first, second = pauses[::2], pauses[1::2]
    assert len(first) == len(second) == fetches
    assert len(set(pauses)) == len(pauses)
    for found, limit in ((first, 0.5), (second, 1.0)):
        assert 0 <= min(found) < limit / 4
        assert limit * 3 / 4 < max(found) <= limit


def test_an_attempt_that_would_begin_too_late_is_not_made(monkeypatch, container):
    """What the source said stays the reason; waiting does not replace it with a time-out of our own."""
    clock = [1000.0]
    monkeypatch.setattr(iamcacheauth.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(iamcacheauth.time, "sleep", lambda seconds: clock.append(clock.pop() + seconds))
    container.faults["credentials"] = itertools.repeat(reply(429, "slow down"))
    for timeout in (0.6, 1.0, 2.0):
        for _ in range(10):
            clock[:] = [1000.0]
            assert failure(container.environ, timeout).endswith("HTTP status 429, slow down")
            assert clock[0] - 1000 <= timeout * 0.9


@pytest.mark.parametrize("kind", CALLERS)
def test_a_source_that_says_nothing_is_named_in_time(container, kind):
    """The source's own error, a little before the callers lose patience; a busy machine may be too slow for that."""
    container.faults["connection"] = itertools.repeat(silence)
    for _ in range(3):
        outcomes, seconds = asked(kind, container.environ, SHORT)
        assert seconds < SHORT * 1.25 + SLACK
        assert {outcome.error.startswith(SOURCES[type(container)]) for outcome in outcomes} == {True}
        if all(container.url.partition("//")[2] in outcome.error for outcome in outcomes):
            return
    pytest.fail(outcomes[0].error)


@pytest.mark.parametrize("server", ["sts", "imds"], indirect=True)
def test_other_sources_that_say_nothing(server):
    server.faults["connection"] = itertools.repeat(silence)
    (outcome,), seconds = asked("sync", server.environ, SHORT)
    assert seconds < SHORT * 1.25 + SLACK
    assert outcome.error.startswith(SOURCES[type(server)])
    assert server.url.partition("//")[2] in outcome.error


def asked(kind, environ, timeout=LONG):
    credentials = iamcacheauth.EnvironmentCredentials(environ, timeout=timeout)
    auth = iamcacheauth.ElastiCacheAuth("user", "cache", region="us-east-1", credentials=credentials)
    started = time.monotonic()
    outcomes = CALLERS[kind](auth)
    return outcomes, time.monotonic() - started


def test_a_source_that_says_nothing_at_first(sts):
    """Each attempt has an even share of the time."""
    sts.faults["connection"] = iter([silence])
    assert fields(retrieve(sts.environ, timeout=LONG / 4)) == sts.issued


def test_instance_metadata_seconds_can_be_set(imds):
    imds.faults["token"] = iter([late(1.5, reply(200, imds.session_token))])
    assert fields(retrieve({**imds.environ, "AWS_METADATA_SERVICE_TIMEOUT": "9"})) == imds.issued


# --- who asks ---


@pytest.mark.parametrize("kind", CALLERS)
def test_throttled_once_whoever_asks(server, pauses, kind):
    server.faults["credentials"] = iter(
        [sts_error(400, "Throttling", "Rate exceeded") if isinstance(server, Sts) else reply(429)]
    )
    outcomes, _ = asked(kind, environ_of(server))
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    tokens = {read(outcome.token)[1]["X-Amz-Security-Token"] for outcome in outcomes}
    assert tokens == {server.issued["Token"]}
    assert more_requests(server) == 1


@pytest.mark.parametrize("kind", CALLERS)
def test_a_role_throttled_once_whoever_asks(pauses, assumed_role, kind):
    with RoleSts() as sts:
        sts.faults["assume"] = iter([sts_error(400, "Throttling", "Rate exceeded")])
        auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=assumed_role(sts))
        outcomes = CALLERS[kind](auth)
        assert [outcome.error for outcome in outcomes if outcome.error] == []
        assert len(sts.requests) == 2


@pytest.mark.parametrize("kind", CALLERS)
def test_throttled_for_good_whoever_asks(server, pauses, kind):
    server.faults["credentials"] = itertools.repeat(reply(429))
    outcomes, _ = asked(kind, environ_of(server), timeout=0.9)
    for outcome in outcomes:
        assert outcome.error.startswith(SOURCES[type(server)])
        assert "HTTP status 429" in outcome.error
        assert not [secret for secret in server.secrets if secret in outcome.told]


@pytest.mark.parametrize("kind", CALLERS)
def test_refused_whoever_asks(server, kind):
    server.faults["credentials"] = itertools.repeat(reply(403, "not for you"))
    outcomes, _ = asked(kind, server.environ)
    for outcome in outcomes:
        assert outcome.error.startswith(SOURCES[type(server)])
        assert outcome.error.endswith("HTTP status 403, not for you")


# --- after a failure ---


def test_a_source_that_refuses_is_not_asked_without_a_pause(container):
    """With nothing valid, once a second at most, however often somebody wants a token."""
    container.faults["credentials"] = itertools.repeat(reply(403))
    provider = iamcacheauth.EnvironmentCredentials(container.environ, timeout=0.25)
    started = time.monotonic()
    for _ in range(8):
        refused(provider)
    assert len(container.requests) <= 1 + (time.monotonic() - started)


def test_a_source_that_has_recovered(container):
    """Who comes soon after a failure waits for the next fetch, and does not get the old failure."""
    container.faults["credentials"] = iter([reply(403)])
    provider = iamcacheauth.EnvironmentCredentials(container.environ, timeout=LONG)
    refused(provider)
    assert fields(provider()) == container.issued


def test_credentials_that_are_valid_outlast_a_source_that_fails(server, clock):
    server.issued["Expiration"] = iso8601(clock.now + 3600)
    provider = iamcacheauth.EnvironmentCredentials(server.environ, timeout=LONG)
    first = provider()
    server.faults["credentials"] = itertools.repeat(reply(403))
    clock.now += 3600 - 600
    for _ in range(10):
        assert provider().token == first.token
        clock.now += 30
    clock.now += 600
    refused(provider, server.secrets)
