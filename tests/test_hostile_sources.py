"""Sources that are broken or hostile: an error in time, which names the source and no secret, and then a clean start.

What takes long here takes a timeout that is short on purpose; a fault without an end would keep a client that
looks at its clock only between two reads busy for ever.
"""

from __future__ import annotations

import gc
import gzip
import http.client
import itertools
import json
import os
import socket
import ssl
import time
from contextlib import ExitStack
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.asking import FULL_URI, LONG, OPERATIONS, OUT_OF_TIME, SHORT, SOURCES, fields, refused, retrieve
from support.examples import label
from support.loopback import (
    CA_FILE,
    ROLE_ARN,
    Container,
    Imds,
    Server,
    Sts,
    drip,
    flood,
    head,
    late,
    raw,
    reply,
    silence,
    sts_error,
)
from support.subject import iamcacheauth
from support.waiting import PATIENCE, Caller

CredentialsError = iamcacheauth.CredentialsError

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver", "no_pauses")

RELATIVE_URI = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"


@pytest.fixture
def no_pauses(monkeypatch):
    """Those between two attempts are test_sources.py's business."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def refused_then_right(server, timeout=LONG):
    """Ask twice: while the server has faults, and then again, when it has none."""
    provider = iamcacheauth.EnvironmentCredentials(server.environ, timeout=timeout)
    message = refused(provider, server.secrets)
    assert message.startswith(SOURCES[type(server)])
    server.faults.clear()
    server.issue()
    right(provider, server)
    return message


def right(provider, server):
    """Credentials; if a short timeout is too short for a busy machine, then after a few calls."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            assert provider().token == server.issued["Token"]
            return
        except CredentialsError as error:
            if not OUT_OF_TIME.search(str(error)) or time.monotonic() > deadline:
                raise


# --- answers that end ---


def loose(server):
    """Every secret of the server, to be put where an error might quote it."""
    return " ".join(sorted(server.secrets)).encode()


FAULTS = {
    "closed at once": (lambda server: raw(b""), ": the connection was closed"),
    "closed in the status line": (lambda server: raw(b"HTTP/1.1 20"), "no HTTP answer"),
    "closed in the headers": (
        lambda server: raw(head(200, "Content-Length: 100")[:-2]),
        ": the connection was closed in the middle of its answer",
    ),
    "closed in the body": (
        lambda server: raw(head(200, "Content-Length: 9000") + loose(server)),
        ": the connection was closed in the middle of its answer",
    ),
    "closed in a chunk": (
        lambda server: raw(head(200, "Transfer-Encoding: chunked") + b"fff\r\n" + loose(server)),
        "no HTTP answer",
    ),
    "malformed chunk": (
        lambda server: raw(head(200, "Transfer-Encoding: chunked") + loose(server) + b"\r\n"),
        "no HTTP answer",
    ),
    "no HTTP": (lambda server: raw(loose(server) + b"\r\n"), ": no HTTP answer (BadStatusLine)"),
    "a Redis": (lambda server: raw(b"-ERR unknown command 'GET', with args " + loose(server)), "no HTTP answer"),
    "unknown version": (lambda server: raw(b"HTTP/" + loose(server).replace(b" ", b"")), "no HTTP answer"),
    "status without a number": (lambda server: raw(b"HTTP/1.1 " + loose(server) + b"\r\n\r\n"), "no HTTP answer"),
    "endless status line": (lambda server: flood(b"HTTP/1.1 200 ", loose(server)), "no HTTP answer"),
    "endless header": (lambda server: flood(b"HTTP/1.1 200 OK\r\nX: ", loose(server)), "no HTTP answer"),
    "endless headers": (lambda server: flood(b"HTTP/1.1 200 OK\r\n", b"X: " + loose(server) + b"\r\n"), "no HTTP"),
    "100 MB": (lambda server: flood(head(200, "Content-Length: 100000000"), loose(server)), "larger"),
    "100 MB in chunks": (
        lambda server: flood(head(200, "Transfer-Encoding: chunked"), b"400\r\n" + b" " * 0x400 + b"\r\n"),
        "larger",
    ),
    "100 MB without a length": (lambda server: flood(head(200), loose(server)), "larger"),
    "one byte too many, and then nothing": (lambda server: drip(head(200) + b" " * 65537, b""), "larger"),
    "HTML": (
        lambda server: reply(200, b"<!DOCTYPE html>\n<html><body>Log in: " + loose(server) + b"</body></html>"),
        "its answer",
    ),
    "nothing": (lambda server: reply(200), "its answer"),
    "no content": (lambda server: raw(head(204)), "204"),
    "compressed": (lambda server: reply(200, gzip.compress(b'{"AccessKeyId": 1}'), "Content-Encoding: gzip"), "its an"),
    **{
        f"status {status}": (lambda server, status=status: reply(status, loose(server)), str(status))
        for status in (400, 401, 403, 404, 405, 429, 500, 502, 503, 504)
    },
}


@pytest.mark.parametrize(("fault", "cause"), FAULTS.values(), ids=FAULTS)
def test_fault(operation, fault, cause):
    server, operation = operation
    server.faults[operation] = itertools.repeat(fault(server))
    assert cause in refused_then_right(server)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_redirects_are_not_followed(operation, status):
    server, operation = operation
    with Server() as elsewhere:
        server.faults[operation] = itertools.repeat(reply(status, "", f"Location: {elsewhere.url}/"))
        assert refused_then_right(server).endswith(f": HTTP status {status}; redirects are not followed")
    assert elsewhere.requests == []


def pointed_elsewhere(server, elsewhere):
    """The server's variables, but with the port of another socket in them."""
    ports = [str(place[1]) for place in (server.server_address, elsewhere.getsockname())]
    return {variable: value.replace(*ports) for variable, value in server.environ.items()}


def test_refused_connection(server):
    with socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))  # and does not listen
        environ = pointed_elsewhere(server, elsewhere)
        message = refused(iamcacheauth.EnvironmentCredentials(environ, timeout=LONG), server.secrets)
    assert message.startswith(SOURCES[type(server)])
    assert "refused" in message.lower()


@pytest.mark.parametrize(("fault", "_"), FAULTS.values(), ids=FAULTS)
def test_nothing_stays_open(container, fault, _):
    """What only the garbage collector closes may complain on standard error, at a time of its choosing."""
    container.faults["credentials"] = itertools.repeat(fault(container))
    provider = iamcacheauth.EnvironmentCredentials(container.environ, timeout=LONG)
    gc.collect()  # what other tests left behind
    with pytest.raises(CredentialsError):
        provider()
    responses = [each for each in gc.get_objects() if isinstance(each, http.client.HTTPResponse)]
    assert [response for response in responses if not response.isclosed()] == []


# --- answers that do not end in time ---

SLOW = {
    "silence": silence,
    "slow status line": drip(b"HTTP/1.1 200 ", b"O"),
    "slow header": drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "slow headers": drip(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"),
    "slow body": drip(head(200, "Content-Length: 60000"), b" "),
    "slow body without a length": drip(head(200), b" "),
    "slow chunks": drip(head(200, "Transfer-Encoding: chunked"), b"1\r\n \r\n"),
    "continue for ever": drip(b"", head(100)),
}


@pytest.mark.parametrize(("kind", "operation"), OPERATIONS)
def test_slow(kind, operation):
    """All at the same time, because each uses its timeout up."""
    with ExitStack() as stack:
        callers = {}
        for name, fault in SLOW.items():
            server = stack.enter_context(kind())
            server.faults[operation] = itertools.repeat(fault)
            callers[name] = Caller(partial(refused_then_right, server, SHORT))
        messages = {name: caller.result() for name, caller in callers.items()}
    assert [name for name, message in messages.items() if not OUT_OF_TIME.search(message)] == []


@pytest.mark.parametrize("fault", [silence, drip(b"\x16\x03\x03\x02\x00", b"\x00")], ids=["silence", "drip"])
def test_slow_handshake(sts, container, fault):
    """Both HTTPS clients: STS and the container endpoint."""
    container.tls = sts.tls
    for server, extra in ((sts, {}), (container, {"AWS_CA_BUNDLE": CA_FILE})):
        server.faults["connection"] = itertools.repeat(fault)
        provider = iamcacheauth.EnvironmentCredentials({**server.environ, **extra}, timeout=SHORT)
        assert OUT_OF_TIME.search(refused(provider, server.secrets))
        server.faults.clear()
        right(provider, server)


def test_a_request_is_sent_in_time_too(sts, monkeypatch):
    """Sending would only wait if there were more than the sockets hold."""
    limits = []
    sendall = ssl.SSLSocket.sendall

    def recorded(connection, data):
        limits.append(connection.server_side or connection.gettimeout())
        sendall(connection, data)

    monkeypatch.setattr(ssl.SSLSocket, "sendall", recorded)
    assert iamcacheauth.EnvironmentCredentials(sts.environ, timeout=LONG)().token == sts.issued["Token"]
    assert None not in limits


def test_nobody_accepts_the_connection(server):
    """A full queue, to a client, looks like a firewall that drops its packets."""
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        environ = pointed_elsewhere(server, deaf)
        message = refused(iamcacheauth.EnvironmentCredentials(environ, timeout=SHORT), server.secrets)
    assert message.startswith(SOURCES[type(server)])
    assert OUT_OF_TIME.search(message)


def test_the_timeout_is_for_all_requests_together(imds, container):
    for operation, answer in (("token", imds.session_token), ("role", imds.role)):
        imds.faults[operation] = iter([late(SHORT * 0.6, reply(200, answer))])
    assert OUT_OF_TIME.search(refused_then_right(imds, SHORT))
    container.faults["credentials"] = itertools.chain([late(SHORT * 0.6, reply(500))] * 2)
    refused_then_right(container, SHORT)


# --- answers without good credentials ---


KEYS = ("AccessKeyId", "SecretAccessKey", "Token")
BAD_VALUES = [
    *itertools.product(KEYS, [""], [": its answer has no "]),
    *itertools.product(KEYS, ["with space", "with\nline", "with\ttab", "é", "\u2028"], [": its answer is malformed: "]),
    ("Expiration", "", "no Expiration"),
    ("Expiration", "soon", "expiration"),
    ("Expiration", "2099-13-01T00:00:00Z", "expiration"),
    ("Expiration", "2099-01-01T00:00:00", "expiration"),
    ("Expiration", "10000-01-01T00:00:00Z", "expiration"),
    ("Expiration", "4070908800", "expiration"),
]


@pytest.mark.parametrize(("field", "value", "cause"), BAD_VALUES)
def test_bad_value(server, field, value, cause):
    server.issued[field] = value
    assert cause in refused_then_right(server)


@pytest.mark.parametrize("field", [*KEYS, "Expiration"])
def test_missing_field(server, field):
    del server.issued[field]
    name = "SessionToken" if field == "Token" and isinstance(server, Sts) else field
    assert refused_then_right(server).endswith(f": its answer has no {name}")


@pytest.mark.parametrize("value", [None, True, 1, 1.5, [], ["text"], {}, {"text": "text"}], ids=repr)
@pytest.mark.parametrize("field", [*KEYS, "Expiration"])
@pytest.mark.parametrize("server", ["container", "imds"], indirect=True)
def test_wrong_type(server, field, value):
    server.issued[field] = value
    assert f"no {field}" in refused_then_right(server)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b'"text"',
        b'{"AccessKeyId": "AK',
        b'{"Code": "Success"',
        b"{'Code': 'Success'}",
        b'{"\xff": "\xff"}',
        b'{"a":' * 10000,
        b"[" * 60000,
        b"1" * 60000,
        b"<Credentials/>",
    ],
    ids=lambda body: label(body[:20]),
)
@pytest.mark.parametrize("server", ["container", "imds"], indirect=True)
def test_no_json_object(server, body):
    server.faults["credentials"] = itertools.repeat(reply(200, body))
    assert refused_then_right(server).endswith(": its answer is empty or malformed")


ENTITIES = "".join(f'<!ENTITY e{number + 1} "{f"&e{number};" * 10}">' for number in range(9))
BOMB = f'<!DOCTYPE b [<!ENTITY e0 "bomb">{ENTITIES}]><b>&e9;</b>'


def test_document_types_are_refused(sts):
    """AWS sends none; what an entity stands for is not looked up, however harmless."""
    fields = "".join(f"<{field}>&key;</{field}>" for field in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    body = f'<!DOCTYPE a [<!ENTITY key "key">]><a>{fields}<Expiration>2099-01-01T00:00:00Z</Expiration></a>'
    sts.faults["credentials"] = itertools.repeat(reply(200, body))
    assert refused_then_right(sts).endswith(": its answer is empty or malformed")


@pytest.mark.parametrize(
    "body",
    [
        "<a",
        "<AssumeRoleWithWebIdentityResponse><Credentials>",
        "{}",
        "<a>" * 8000 + "</a>" * 8000,
        b"<a>\xff</a>",
        "<a>x</a>".encode("utf-16"),
        BOMB,
        BOMB.encode("utf-16"),
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/"><a/>',
        "<ErrorResponse><Error><Code>IDPCommunicationError</Code></Error></ErrorResponse>",
    ],
    ids=lambda body: label(body[:20]),
)
def test_no_xml_with_credentials(sts, body):
    sts.faults["credentials"] = itertools.repeat(reply(200, body))
    assert ": its answer " in refused_then_right(sts)


@pytest.mark.parametrize("answer", ["", " ", "two words", "two\nlines", "é", "<html></html>\n<p>"], ids=label)
@pytest.mark.parametrize("operation", ["token", "role"])
def test_no_word(imds, operation, answer):
    imds.faults[operation] = itertools.repeat(reply(200, answer))
    assert ": its answer is empty or malformed" in refused_then_right(imds)


def test_sts_error_text_is_made_fit(sts):
    """It comes from outside, and may be meant for a terminal."""
    sts.faults["credentials"] = iter([sts_error(400, "InvalidIdentityToken", f"\x9b2J\n\u202e{'no ' * 20000}")])
    message = refused_then_right(sts)
    assert ": HTTP status 400, InvalidIdentityToken: 2J no no " in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("quoted", "shown"),
    [
        (Sts.token, "…"),
        (Sts.token[4:12], "…"),
        (Sts.token[4:12] + "!", "…"),
        (Sts.token[4:11], Sts.token[4:11]),  # too short to tell it from other words
    ],
)
def test_sts_error_that_quotes_the_token(sts, quoted, shown):
    sts.faults["credentials"] = iter([sts_error(400, "InvalidIdentityToken", f"No such key={quoted}")])
    assert refused_then_right(sts).endswith(f": HTTP status 400, InvalidIdentityToken: No such key={shown}")


# --- whatever comes ---

field_names = st.sampled_from(["Code", "AccessKeyId", "SecretAccessKey", "Token", "Expiration"])
field_texts = st.sampled_from(["Success", "key", "2099-01-01T00:00:00Z", "é", ""])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | field_names, inner, max_size=4),
    max_leaves=12,
)
XML_PIECES = """<a> </a> <Credentials> <AccessKeyId> </AccessKeyId> <Code> &amp; &#0; <![CDATA[ ]]> <!-- -->
    <?xml encoding='utf-7'?> xmlns:x='' <a b='c'/> key \0 é"""
HEADERS = """Content-Length: 5|Content-Length: -1|Content-Length: x|Transfer-Encoding: chunked|no colon|: x|\0: \0
    |Transfer-Encoding: identity| folded|Connection: keep-alive|Set-Cookie: x=\xff"""
pieces = st.sampled_from(XML_PIECES.split())
headers = st.sampled_from(HEADERS.split("|"))


def either_error_or_credentials(server, operation, answer):
    server.faults[operation] = iter([answer])
    try:
        found = iamcacheauth.EnvironmentCredentials(server.environ, timeout=LONG)()
    except CredentialsError as error:
        assert str(error).startswith(SOURCES[type(server)])
    else:
        assert found.expiration is not None


@pytest.mark.parametrize("operation", ["token", "role", "credentials"])
def test_any_bytes(imds, operation):
    @settings(max_examples=60)
    @given(st.binary(max_size=200) | st.lists(headers).map(lambda lines: head(200, *lines) + b"5\r\nhello\r\n"))
    def check(data):
        either_error_or_credentials(imds, operation, raw(data))

    check()


def test_any_json(imds):
    @settings(max_examples=100)
    @given(json_values | st.dictionaries(field_names, field_texts | json_values, max_size=6))
    def check(value):
        either_error_or_credentials(imds, "credentials", reply(200, json.dumps(value)))

    check()


def test_any_xml():
    with Sts(plain=True) as sts:

        @settings(max_examples=100)
        @given(st.lists(pieces, max_size=12), st.sampled_from([200, 400]))
        def check(found, status):
            either_error_or_credentials(sts, "credentials", reply(status, "".join(found)))

        check()


# --- malformed settings: refused before anything is sent ---


NO_HEADER_VALUE = "line breaks and characters outside ASCII cannot go into a header"


def test_token_file(tmp_path, resolver):
    file = tmp_path / "token"
    variables = [
        (
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            {"AWS_ROLE_ARN": ROLE_ARN},
            "(AWS_WEB_IDENTITY_TOKEN_FILE): the file holds no token, or more than one line",
        ),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            {FULL_URI: "http://127.0.0.1/"},
            f": AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: {NO_HEADER_VALUE}",
        ),
    ]
    for variable, environ, malformed in variables:
        provider = iamcacheauth.EnvironmentCredentials({**environ, variable: str(file)}, timeout=LONG)
        file.unlink(missing_ok=True)
        assert refused(provider).endswith(f": {variable}: its file cannot be read: No such file or directory")
        for content, cause in (
            (b"x" * 65537, f": {variable}: its file is too large"),
            (b"", f": {variable}: its file is empty"),
            (b"secret\nsecret", malformed),
            (b"secret\r\nX-Header: secret", malformed),
            ("sécret".encode(), malformed),
        ):
            file.write_bytes(content)
            assert refused(provider, ["secret", "sécret"]).endswith(cause)
        for path, cause in (
            (str(tmp_path), "Is a directory"),
            ("\0", "its path is malformed"),
            ("x" * 5000, "File name too long"),
        ):
            provider = iamcacheauth.EnvironmentCredentials({**environ, variable: path}, timeout=LONG)
            message = refused(provider, [path])  # it may be the token itself
            assert message.endswith(f": {variable}: its file cannot be read: {cause}")
    assert resolver.asked == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_token_file_without_an_end(tmp_path):
    token = tmp_path / "token"
    os.mkfifo(token)
    environ = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": ROLE_ARN}
    caller = Caller(partial(refused, iamcacheauth.EnvironmentCredentials(environ, timeout=LONG)))
    with token.open("wb", buffering=0) as endless:
        endless.write(b"x" * 65537)
        assert "its file is too large" in caller.result()


@pytest.mark.parametrize("value", ["a b", "é", "\udcff"], ids=label)
@pytest.mark.parametrize("variable", ["AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME"])
def test_malformed_role(sts, variable, value):
    message = refused(iamcacheauth.EnvironmentCredentials({**sts.environ, variable: value}, timeout=LONG), sts.secrets)
    malformed = "AWS_ROLE_ARN or AWS_ROLE_SESSION_NAME holds white space or characters outside ASCII"
    assert message == SOURCES[Sts] + malformed
    assert sts.requests == []


@pytest.mark.parametrize("server", ["sts", "container"], indirect=True)
def test_token_file_comes_back(server, tmp_path):
    file = tmp_path / "token"
    token = server.token if isinstance(server, Sts) else server.authorization
    variable = "AWS_WEB_IDENTITY_TOKEN_FILE" if isinstance(server, Sts) else "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
    provider = iamcacheauth.EnvironmentCredentials({**server.environ, variable: str(file)}, timeout=LONG)
    refused(provider)
    file.write_text(token)
    assert provider().token == server.issued["Token"]


@pytest.mark.parametrize("token", ["secret\n", "secret\r", "secret\r\nX: secret", "sécret", "secret\0"], ids=label)
def test_authorization_that_is_no_header_value(container, token):
    environ = {**container.environ, "AWS_CONTAINER_AUTHORIZATION_TOKEN": token}
    message = refused(iamcacheauth.EnvironmentCredentials(environ, timeout=LONG), ["secret", "sécret"])
    assert message == f"{SOURCES[Container]}AWS_CONTAINER_AUTHORIZATION_TOKEN: {NO_HEADER_VALUE}"
    assert container.requests == []


FORBIDDEN = {
    "https is wanted; plain http only goes to this machine or its agents": [
        "http://example.com/",
        "http://169.254.169.254/",
        "http://169.254.170.3/",
        "http://[fd00:ec2::24]/",
        "http://[::2]/",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://127.0.0.1.example.com/",
        "http://localhost.example.com/",
        "http://localhost./",
        "http://2130706433/",
        "http://127.1/",
        "http://0x7f.0.0.1/",
        "http://169.254.170.2.example.com/",
    ],
    "a URL that starts with http:// or https:// is wanted, without a user": [
        "http://169.254.170.2\\.example.com/",
        "http://example.com#@127.0.0.1/",
        "http://127.0.0.1@example.com/",
        "http://example.com@127.0.0.1/",
        "http://name:secret@127.0.0.1/",
        "https://name:secret@127.0.0.1/",
        "https://@127.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "127.0.0.1/path",
        "/path",
        "//127.0.0.1/path",
        "http:/path",
        "http://",
        "http:///path",
        "http://:80/",
        "http://127.0.0.1:port/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:-1/",
        "http://[127.0.0.1/",
        "http://[::1/",
        "http://127.0.0.1/with space",
        "http://127.0.0.1/with\r\nX: header",
        "http://127.0.0.1/é",
        "http://\uff11\uff12\uff17.0.0.1/",
    ],
}


@pytest.mark.parametrize(("url", "cause"), [(url, cause) for cause, urls in FORBIDDEN.items() for url in urls])
def test_forbidden_urls(resolver, tmp_path, url, cause):
    token_file = tmp_path / "token"
    token_file.write_text("token")
    web_identity = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token_file), "AWS_ROLE_ARN": ROLE_ARN}
    for variable, environ in ((FULL_URI, {}), ("AWS_ENDPOINT_URL_STS", web_identity)):
        message = refused(iamcacheauth.EnvironmentCredentials({**environ, variable: url}, timeout=LONG), ["secret"])
        assert message.endswith(f": {variable}: {cause}")
    assert resolver.asked == []


def test_the_highest_port(container, resolver):
    resolver.routes["localhost", 65535] = container
    environ = {**container.environ, FULL_URI: f"http://localhost:65535{container.target}"}
    assert fields(retrieve(environ)) == container.issued


@pytest.mark.parametrize("url", ["169.254.169.254", "ftp://127.0.0.1", "http://name:secret@127.0.0.1", "http://a b"])
def test_forbidden_metadata_endpoint(resolver, url):
    environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": url}
    message = refused(iamcacheauth.EnvironmentCredentials(environ, timeout=LONG), ["secret"])
    assert message.startswith(SOURCES[Imds] + "AWS_EC2_METADATA_SERVICE_ENDPOINT: a URL ")
    assert resolver.asked == []


@pytest.mark.parametrize("uri", ["path", "@example.com/", ".example.com/", ":8080/", "/é", "/with space", "/\r\nX: x"])
def test_forbidden_relative_uri(resolver, uri):
    message = refused(iamcacheauth.EnvironmentCredentials({RELATIVE_URI: uri}, timeout=LONG))
    malformed = f"{RELATIVE_URI}: a URL that starts with http:// or https:// is wanted, without a user"
    cause = malformed if uri.startswith("/") else "a path that starts with a slash is wanted"
    assert message == f"container credentials ({RELATIVE_URI}): {cause}"
    assert resolver.asked == []


def test_relative_uri_stays_with_its_host(container, resolver):
    resolver.routes["169.254.170.2", 80] = container
    for uri in ("//example.com/", "/@example.com/", "/http://example.com/", "/../example.com", "/?http://example.com"):
        refused(iamcacheauth.EnvironmentCredentials({RELATIVE_URI: uri}, timeout=LONG))
    assert {host for host, _ in resolver.asked} == {"169.254.170.2"}


@pytest.mark.parametrize("host", ["nowhere.example", f"{'x' * 64}.example", "a..example", ".example", "x." * 130])
def test_hosts_that_do_not_resolve(host):
    message = refused(iamcacheauth.EnvironmentCredentials({FULL_URI: f"https://{host}/"}, timeout=LONG))
    assert message.startswith(SOURCES[Container])


@pytest.mark.parametrize("region", ["mars", "us-east-1a", "US-EAST-1", "us-east-1.example.com/", "a-b-1@example.com"])
@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_malformed_region(sts, resolver, variable, region):
    environ = {**sts.environ, "AWS_ENDPOINT_URL_STS": "", variable: region}
    message = refused(iamcacheauth.EnvironmentCredentials(environ, timeout=LONG), sts.secrets)
    assert message.startswith(SOURCES[Sts])
    assert variable in message
    assert resolver.asked == []


# --- TLS ---


def test_certificate_of_nobody_we_trust(sts, resolver):
    environ = sts.environ
    del environ["AWS_CA_BUNDLE"]
    message = refused(iamcacheauth.EnvironmentCredentials(environ, timeout=LONG), sts.secrets)
    assert message.startswith(SOURCES[Sts])
    assert "certificate" in message
    assert sts.requests == []
    assert len(resolver.asked) == 1  # another attempt would see the same certificate


def test_certificate_of_another_host(sts, resolver):
    resolver.routes["another.example", 443] = sts
    environ = {**sts.environ, "AWS_ENDPOINT_URL_STS": "https://another.example"}
    message = refused(iamcacheauth.EnvironmentCredentials(environ, timeout=LONG), sts.secrets)
    assert "certificate" in message
    assert "another.example" in message
    assert sts.requests == []


def test_no_tls_there():
    with Sts(plain=True) as sts:
        environ = {**sts.environ, "AWS_ENDPOINT_URL_STS": sts.url.replace("http:", "https:")}
        message = refused(iamcacheauth.EnvironmentCredentials(environ, timeout=LONG), sts.secrets)
    place = environ["AWS_ENDPOINT_URL_STS"].partition("//")[2]
    assert message.startswith(f"{SOURCES[Sts]}{place}: TLS failed: ")
    assert sts.requests == []


def test_only_the_bundle_is_read(sts, monkeypatch):
    """The system's trust store takes longer to read than all the rest, and is not what the user trusts."""

    def refuse(*_):
        raise AssertionError("the system's trust store")

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", refuse)
    assert iamcacheauth.EnvironmentCredentials(sts.environ, timeout=LONG)().token == sts.issued["Token"]


@pytest.mark.parametrize("content", [None, b"", b"no PEM"])
def test_bad_ca_bundle(sts, tmp_path, content):
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)
    environ = {**sts.environ, "AWS_CA_BUNDLE": str(bundle)}
    message = refused(iamcacheauth.EnvironmentCredentials(environ, timeout=LONG), sts.secrets)
    assert message.startswith(f"{SOURCES[Sts]}AWS_CA_BUNDLE: a file of PEM certificates is wanted: ")
    assert sts.requests == []
