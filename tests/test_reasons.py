"""What an error of a source says: who was asked, what went wrong, and the server's own reason, but never a secret."""

from __future__ import annotations

import base64
import itertools
import json
import re
import socket
import ssl
import string
from contextlib import ExitStack
from html import escape
from urllib.parse import quote

import pytest
from support.asking import LONG, OPERATIONS, SHORT, SOURCES, failure, fields, pieces_of, refused, retrieve
from support.callers import CALLERS
from support.examples import SECRET_KEY, SESSION_TOKEN
from support.loopback import Container, Imds, Sts, and_behind, head, raw, reply, silence, sts_error, told
from support.subject import iamcacheauth

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver", "no_pauses")


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(iamcacheauth.time, "sleep", lambda seconds: None)


# --- the server's own reason ---

NO_ASSOCIATION = (
    "[6d2a1f0e-4c7b-4a7e-9f4e-0c2b]: (ResourceNotFoundException): fetching credentials: No association found for"
    " service account default/cache-reader in cluster production"
)
AGENT_DENIES = "[6d2a1f0e-4c7b-4a7e-9f4e-0c2b]: (AccessDeniedException): Unauthorized Exception! EKS does not have"
UNTRUSTED = (
    "User: arn:aws:sts::123456789012:assumed-role/production-cache-readers-of-the-eastern-region/i-0123456789abcdef0"
    " is not authorized to perform: sts:AssumeRoleWithWebIdentity on resource:"
    " arn:aws:iam::123456789012:role/service-role/some/long/path/of/folders/cache-reader-in-another-account"
)
REASONS = {
    "the Pod Identity agent, no association": (404, NO_ASSOCIATION, NO_ASSOCIATION),
    "the Pod Identity agent, denied": (400, AGENT_DENIES, AGENT_DENIES),
    "ECS": (400, {"code": "AccessDenied", "message": UNTRUSTED}, f"AccessDenied: {UNTRUSTED}"),
    "ECS, throttled": (429, {"code": "TooMany", "message": "Rate exceeded"}, "TooMany: Rate exceeded"),
    "capitals": (403, {"Code": "Forbidden", "Message": "Not for you"}, "Forbidden: Not for you"),
    "a message alone": (500, {"message": "unable to reach the backend"}, "unable to reach the backend"),
    "more than one line": (404, "first line\nsecond line", "first line"),
    "a line break at the end": (500, "credentials are being rotated\r\n", "credentials are being rotated"),
    "another encoding": (403, "le caf\u00e9 est ferm\u00e9".encode("latin-1"), "le caf\ufffd est ferm\ufffd"),
    "XML": (
        403,
        f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{UNTRUSTED}</Message></Error></ErrorResponse>",
        f"AccessDenied: {UNTRUSTED}",
    ),
}


@pytest.mark.parametrize(("status", "said", "shown"), REASONS.values(), ids=REASONS)
def test_reason(operation, status, said, shown):
    server, operation = operation
    server.faults[operation] = itertools.repeat(reply(status, json.dumps(said) if isinstance(said, dict) else said))
    assert failure(server.environ, secrets=server.secrets).endswith(f": HTTP status {status}, {shown}")


@pytest.mark.parametrize("kind", CALLERS)
def test_reason_whoever_asks(container, kind):
    container.faults["credentials"] = itertools.repeat(reply(404, NO_ASSOCIATION))
    credentials = iamcacheauth.EnvironmentCredentials(container.environ, timeout=LONG)
    auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=credentials)
    assert {outcome.error.endswith(NO_ASSOCIATION) for outcome in CALLERS[kind](auth)} == {True}


MARKUP = {
    "a page": "<!DOCTYPE html>\n<html><head><title>404 - Not Found</title></head></html>",
    "XHTML": '<?xml version="1.0" encoding="iso-8859-1"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN">\n<html/>',
    "a page after blanks": "\n\n  <html><body>Bad gateway</body></html>",
    "XML without a reason": "<ErrorResponse><Error><Type>Sender</Type></Error></ErrorResponse>",
    "an empty object": "{}",
    "a list": "[1,2]",
    "an object with nothing in its fields": '{"code": "", "message": null, "Code": 0, "Message": {}}',
    "nothing": "",
    "blanks": " \r\n\t ",
    "no characters": b"\x00\x01\x02",
}


@pytest.mark.parametrize("body", MARKUP.values(), ids=MARKUP)
def test_what_is_no_reason(operation, body):
    server, operation = operation
    server.faults[operation] = itertools.repeat(reply(403, body))
    assert re.search(r": HTTP status 403$", failure(server.environ))


@pytest.mark.parametrize(
    "characters", ["\x1b[2J", "\x9b2J", "\u202e", "\u2028", "\x07", "\x00", "\t", "\u200b"], ids=ascii
)
@pytest.mark.parametrize("field", ["code", "message", "text"])
def test_a_reason_is_made_fit_for_a_terminal(container, characters, field):
    said = f"before {characters} after"
    body = said if field == "text" else json.dumps({field: said})
    container.faults["credentials"] = itertools.repeat(reply(403, body.encode()))
    message = failure(container.environ)  # which looks that it is printable
    assert "before" in message


@pytest.mark.parametrize("field", ["code", "message", "text"])
def test_a_reason_has_an_end(container, field):
    said = "no way " * 9000
    body = said if field == "text" else json.dumps({field: said})
    container.faults["credentials"] = itertools.repeat(reply(403, body))
    place = container.url.partition("//")[2]
    assert failure(container.environ) == f"{SOURCES[type(container)]}{place}: HTTP status 403, {said[:300]}"


def test_instance_metadata_code(imds):
    """An answer of status 200 that says what is wrong with the role."""
    imds.issued = {
        "Code": "AssumeRoleUnauthorizedAccess",
        "Message": "EC2 cannot assume the role cache-reader. Please see documentation.",
    }
    said = "AssumeRoleUnauthorizedAccess: EC2 cannot assume the role cache-reader. Please see documentation."
    assert said in failure(imds.environ)


# --- the host that was asked ---


def place_of(server):
    return server.url.partition("//")[2]


NETWORK = {
    "closed at once": raw(b""),
    "closed in the answer": raw(head(200, "Content-Length: 100")),
    "no HTTP": raw(b"+PONG\r\n"),
    "a redirect": reply(302, "", "Location: http://127.0.0.1/"),
    "status 500": reply(500),
    "status 403": reply(403),
    "no object": reply(200, "text"),
}


@pytest.mark.parametrize("answer", NETWORK.values(), ids=NETWORK)
def test_the_host_is_named(server, answer):
    server.faults["credentials"] = itertools.repeat(answer)
    assert_names(server, failure(server.environ))


def assert_names(server, message, place=None):
    """Source, variable, host, and then what happened."""
    assert message.startswith(SOURCES[type(server)])
    rest = message[len(SOURCES[type(server)]) :]
    assert re.match(rf"(https?://)?{re.escape(place or place_of(server))}: .", rest), message


@pytest.fixture
def closed_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        yield bound.getsockname()[1]


def environ_with_port(server, port):
    return {name: value.replace(str(server.server_address[1]), str(port)) for name, value in server.environ.items()}


def test_the_host_that_refuses_is_named(server, closed_port):
    message = failure(environ_with_port(server, closed_port))
    assert_names(server, message, f"127.0.0.1:{closed_port}")
    assert "refused" in message


def test_the_host_that_says_nothing_is_named(server):
    server.faults["connection"] = itertools.repeat(silence)
    assert_names(server, failure(server.environ, SHORT))


def test_the_host_that_does_not_resolve_is_named(sts, container):
    environ = {**sts.environ, "AWS_ENDPOINT_URL_STS": "https://sts.nowhere.example"}
    assert_names(sts, failure(environ), "sts.nowhere.example")
    environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "https://agent.nowhere.example:8443/keys"}
    assert_names(container, failure(environ), "agent.nowhere.example:8443")
    assert re.search(r"metadata.*: (http://)?169\.254\.169\.254: .*does not resolve", failure({}))


def test_the_host_of_a_certificate_is_named(sts):
    environ = sts.environ
    del environ["AWS_CA_BUNDLE"]
    message = failure(environ)
    assert_names(sts, message)
    assert "certificate" in message


@pytest.fixture
def deaf():
    """A port whose queue is full: to a client it looks like a way out that is not there."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_tls_that_fails_for_a_reason_without_a_name(sts, monkeypatch, no_pauses):
    """As one of a newer OpenSSL than Python knows."""

    def fail(*_, **__):
        error = ssl.SSLError(1, "[SSL] unknown error")
        error.reason = None
        raise error

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", fail)
    assert failure(sts.environ).endswith(f"{sts.url.partition('//')[2]}: TLS failed: unknown reason")


def test_a_subnet_without_a_way_out(sts, deaf, resolver):
    environ = sts.environ
    del environ["AWS_ENDPOINT_URL_STS"]
    environ["AWS_REGION"] = "eu-central-1"
    message = failure(environ)
    way_out = " (from a subnet without a way out, STS takes a VPC endpoint)"
    assert message.endswith(f"sts.eu-central-1.amazonaws.com: the host name does not resolve{way_out}")
    assert_names(sts, message, "sts.eu-central-1.amazonaws.com")
    resolver.routes["sts.eu-central-1.amazonaws.com", 443] = type("Deaf", (), {"server_address": ("127.0.0.1", deaf)})
    message = failure(environ, SHORT)
    assert "VPC endpoint" in message
    assert_names(sts, message, "sts.eu-central-1.amazonaws.com")


def test_an_answer_of_sts_says_that_there_is_a_way_out(sts, closed_port):
    for answer in (reply(403), reply(500), sts_error(400, "Throttling", "Rate exceeded"), reply(200, "text")):
        sts.faults["credentials"] = itertools.repeat(answer)
        assert "VPC" not in failure(sts.environ)


def test_only_sts_has_a_vpc_endpoint(container, imds, deaf):
    for server in (container, imds):
        assert "VPC" not in failure(environ_with_port(server, deaf), SHORT)


HOP_LIMIT = "hop limit"


def test_the_hop_limit_is_a_reason_where_there_was_no_answer(imds, deaf):
    assert HOP_LIMIT in failure(environ_with_port(imds, deaf), SHORT)
    imds.faults["token"] = itertools.repeat(silence)
    assert HOP_LIMIT in failure(imds.environ, SHORT)


@pytest.mark.parametrize("operation", ["token", "role", "credentials"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_the_hop_limit_is_no_reason_where_there_was_one(imds, operation, status):
    imds.faults[operation] = itertools.repeat(reply(status))
    assert HOP_LIMIT not in failure(imds.environ)


# --- no secret, in whatever field of whatever answer ---

# Of no pattern, so that no piece of one is a word of ours.
SENT = "uZ7qLw2XkD9sPn4VbT6yRc1MhG8jFe3AoS5iNx0B"
RECEIVED = "Kq3vYt8Wm1Zd6Rj4Xp9Ls2Hf7Gc5Nb0QaUeToIyE"
RECEIVED_TOKEN = "IQoJ" + "Vx5Tn2Ub8Wc1Yd7Ze4Af9Bg3Ch6Di0EjFkGlHm" * 6
NOT_OURS = "vB7nM2kL9jH4gF6dS1aQ8wE3rT5yU0iO+pZxC/Xw"  # neither sent nor received, but 40 characters like a secret key


@pytest.fixture
def loaded(operation):
    """A server whose every secret is one of the above, and those that have been sent when it answers."""
    server, operation = operation
    server.issued.update(SecretAccessKey=RECEIVED, Token=RECEIVED_TOKEN)
    server.token = f"eyJhbGciOiJub25lIn0.{SENT}.{SENT[::-1]}"
    server.authorization = f"Bearer {SENT}"
    server.session_token = f"{SENT}=="
    if isinstance(server, Sts):
        server.token_file.write_text(server.token)
        return server, operation, [SENT, SENT[::-1]]
    return server, operation, [] if operation == "token" else [SENT]


def halves(secret):
    return secret[: len(secret) // 2], secret[len(secret) // 2 :]


def spellings(secret):
    """The ways in which an answer may spell a secret that it repeats."""
    return {
        "in a sentence": f"The value '{secret}' is not known.",
        "assigned": f"aws_secret_access_key={secret}",
        "beginning": f"not known: {secret[:16]}...",
        "end": f"not known: ...{secret[-16:]}",
        "percent-encoded": quote(secret, safe=""),
        "between invisible characters": "\u200b".join(halves(secret)),
        "between control characters": "\x00".join(halves(secret)),
        "after a long text": "no " * 95 + secret,
    }


def bodies(text):
    """Every field in which an answer may carry a text."""
    first, second = halves(text)
    for name in ("Code", "code", "Message", "message", "Type", "LastUpdated", "RoleArn", "error", "detail"):
        yield f"JSON {name}", json.dumps({name: text})
    for name in ("AccessKeyId", "SecretAccessKey", "Token", "Expiration"):
        yield f"JSON {name} with the rest", json.dumps({**WHOLE, name: text})
        yield f"JSON {name} with a code", json.dumps({**WHOLE, name: text, "Code": text, "Message": text})
    yield "JSON code and message", json.dumps({"Code": first, "Message": second})
    yield "JSON Success", json.dumps({**WHOLE, "Code": "Success", "Message": text, "Expiration": text})
    yield "JSON name", json.dumps({text: 1})
    yield "JSON deep", json.dumps({"Error": {"Code": text, "Message": text}})
    yield "JSON list", json.dumps([text])
    yield "JSON cut", json.dumps({"Message": text})[:-2]
    yield "JSON string", json.dumps(text)
    yield "XML", f"<a><Code>{escape(text)}</Code><Message>{escape(text)}</Message></a>".replace("\0", " ")
    yield "XML halves", f"<a><Code>{escape(first)}</Code><Message>{escape(second)}</Message></a>".replace("\0", " ")
    yield "XML CDATA", f"<a><Message><![CDATA[{text}]]></Message></a>"
    yield "XML references", f"<a><Message>{''.join(f'&#{ord(c)};' for c in text if c != chr(0))}</Message></a>"
    yield "XML name", f"<a><{re.sub('[^A-Za-z0-9]', '', text) or 'a'}/></a>"
    yield "XML attribute", f"<a><Code b='{escape(text)}'>AccessDenied</Code></a>"
    yield "XML cut", f"<a><Code>{escape(text)}</Code><Message>{escape(text)}"
    yield "HTML", f"<html><title>{escape(text)}</title><body>{escape(text)}</body></html>"
    yield "text", text
    yield "text, second line", f"denied\n{text}"
    yield "text after blanks", f"\n \n{text}"


WHOLE = {
    "AccessKeyId": "ASIAIOSFODNN7EXAMPLE",
    "SecretAccessKey": RECEIVED,
    "Token": RECEIVED_TOKEN,
    "Expiration": "2099-01-01T00:00:00Z",
}


STATUSES = pytest.mark.parametrize("status", [200, 302, 403, 500])
FOREIGN = [NOT_OURS, RECEIVED, RECEIVED_TOKEN]


@STATUSES
def test_no_secret_that_was_sent_is_repeated(loaded, status):
    server, operation, sent = loaded
    for secret in sent:
        for place, body in bodies(secret):
            server.faults[operation] = itertools.repeat(reply(status, body))
            assert_no_secret(server, sent, f"{status} {place}")


@pytest.mark.parametrize("place", ["JSON message", "JSON code and message", "XML", "text"])
@pytest.mark.parametrize("status", [200, 403])
def test_no_secret_that_was_sent_is_repeated_in_another_spelling(loaded, status, place):
    server, operation, sent = loaded
    for secret in sent:
        for spelling, text in spellings(secret).items():
            server.faults[operation] = itertools.repeat(reply(status, dict(bodies(text))[place]))
            assert_no_secret(server, sent, f"{status} {place} {spelling}")


@STATUSES
def test_no_key_of_an_answer_is_repeated(loaded, status):
    """Neither sent nor known: what counts is that it looks like one."""
    server, operation, _ = loaded
    for key in FOREIGN:
        for place, body in bodies(key):
            if "halves" not in place and place != "JSON code and message":
                server.faults[operation] = itertools.repeat(reply(status, body))
                assert_no_secret(server, FOREIGN, f"{status} {place}")


@pytest.mark.parametrize("spelling", ["in a sentence", "assigned", "percent-encoded", "after a long text"])
def test_no_key_of_an_answer_is_repeated_in_another_spelling(loaded, spelling):
    server, operation, _ = loaded
    for key in FOREIGN:
        for place in ("JSON message", "XML", "text"):
            body = dict(bodies(spellings(key)[spelling]))[place]
            server.faults[operation] = itertools.repeat(reply(403, body))
            assert_no_secret(server, FOREIGN, place)


def test_nothing_of_what_came_with_a_code_is_repeated(loaded):
    """Every field of one answer may repeat any other."""
    server, operation, sent = loaded
    for secret in (RECEIVED, RECEIVED_TOKEN, *sent):
        for text in (secret, *spellings(secret).values()):
            answer = {**WHOLE, "Code": text, "Message": f"no {text}", "Expiration": "soon"}
            for body in (json.dumps(answer), as_xml(answer)):
                server.faults[operation] = itertools.repeat(reply(200, body))
                assert_no_secret(server, [RECEIVED, RECEIVED_TOKEN, *sent], text)


def as_xml(answer):
    fields = (f"<{name.replace('Token', 'SessionToken')}>{escape(text)}</{name}>" for name, text in answer.items())
    return f"<a>{''.join(fields)}</a>".replace("</Token>", "</SessionToken>").replace("\0", " ")


def assert_no_secret(server, secrets, case):
    try:
        iamcacheauth.EnvironmentCredentials(server.environ, timeout=LONG)()
    except iamcacheauth.CredentialsError as error:
        seen = told(error) + "".join(attributes(behind) for behind in and_behind(error))
        assert pieces_of(secrets, seen) == [], case
        assert str(error).isprintable(), case
        assert str(error).startswith(SOURCES[type(server)]), case


def attributes(error):
    """What an error keeps beside its text, such as the document that a parser could not read."""
    return repr({name: getattr(error, name, None) for name in ("args", "doc", "object", "partial", "line", "__dict__")})


HEADS = {
    "reason phrase": lambda text: f"HTTP/1.1 403 {text}\r\nContent-Length: 0\r\n\r\n",
    "status": lambda text: f"HTTP/1.1 {text}\r\n\r\n",
    "version": lambda text: f"HTTP/{text} 200 OK\r\n\r\n",
    "first line": lambda text: f"{text}\r\n\r\n",
    "Location": lambda text: f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/{text}\r\nContent-Length: 0\r\n\r\n",
    "a header": lambda text: f"HTTP/1.1 403 Forbidden\r\nWWW-Authenticate: {text}\r\nContent-Length: 0\r\n\r\n",
    "no header": lambda text: f"HTTP/1.1 403 Forbidden\r\n{text}\r\nContent-Length: 0\r\n\r\n",
    "header's name": lambda text: f"HTTP/1.1 403 Forbidden\r\n{text}: x\r\nContent-Length: 0\r\n\r\n",
    "length": lambda text: f"HTTP/1.1 200 OK\r\nContent-Length: {text}\r\n\r\n",
    "encoding": lambda text: f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {text}\r\n\r\n",
    "chunk": lambda text: f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{text}\r\n{text}\r\n",
    "cut": lambda text: f"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{text}",
    "cut chunk": lambda text: f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n{text}",
    "content type": lambda text: f"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset={text}\r\n\r\ndenied",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_no_secret_of_a_head_is_repeated(loaded, head):
    server, operation, sent = loaded
    for secret in (*sent, *FOREIGN):
        server.faults[operation] = itertools.repeat(raw(head(secret).encode()))
        assert_no_secret(server, [*sent, *FOREIGN], secret)


def test_no_secret_of_a_role_name_is_repeated(imds):
    """The role's name goes into the next request, and whatever is said of that may quote it."""
    imds.issued.update(SecretAccessKey=RECEIVED, Token=RECEIVED_TOKEN)
    for role in (imds.session_token, NOT_OURS):
        imds.faults["role"] = itertools.repeat(reply(200, role))
        assert_no_secret(imds, [imds.session_token, NOT_OURS], role)


LIKE_KEYS = {
    "a secret key": NOT_OURS,
    "AWS's example": SECRET_KEY,
    "one with escaped slashes, as some write JSON": SECRET_KEY.replace("/", "\\/"),
    "a session token": "FwoGZXIvYXdzEBYaDH" + "q1Zx9Cv3Bn7Mk5Lj2Hg8Fd4Sa6Po0Iu" * 5 + "==",
    "AWS's example of one": SESSION_TOKEN,
    "a web token": "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJhdWQiOlsic3RzIl0sImV4cCI6MTc2fQ.c2lnbmF0dXJlLW9mLW5vYm9keQ",
    "a signature": "X-Amz-Signature=" + "0123456789abcdef" * 4,
    "a secret key in Base64": base64.b64encode(NOT_OURS.encode()).decode(),
}


@pytest.mark.parametrize("secret", LIKE_KEYS.values(), ids=LIKE_KEYS)
@pytest.mark.parametrize("start", ["denied for ", "denied: secret=", 'denied {"SecretAccessKey": "', "denied (key "])
def test_what_looks_like_a_key_is_not_repeated(operation, secret, start):
    """Of somebody else's, which a proxy or an agent with a fault may well send."""
    server, operation = operation
    for body in (start + secret, json.dumps({"Message": start + secret}), json.dumps({"Code": start + secret})):
        server.faults[operation] = itertools.repeat(reply(403, body))
        message = failure(server.environ)
        assert "denied" in message
        assert pieces_of([secret.removeprefix("X-Amz-Signature=")], message) == []


def test_access_key_ids_are_shortened(container):
    said = "The key ASIAIOSFODNN7EXAMPLE is not active"
    container.faults["credentials"] = itertools.repeat(reply(403, said))
    assert "ASIAIOSFODNN7EXAMPLE" not in failure(container.environ)


@pytest.mark.parametrize(
    "text",
    [
        UNTRUSTED,
        NO_ASSOCIATION,
        "RequestID: 8a1f6c1e-6a7b-4d55-9e0b-1d2c3b4a5f60, host i-0123456789abcdef0.eu-central-1.compute.internal",
        "No OpenIDConnect provider found in your account for"
        " https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF",
        "Incorrect token audience: https://kubernetes.default.svc.cluster.local",
        "dial tcp 169.254.169.254:80: connect: connection refused",
        "ThrottlingException: Rate exceeded (Service: EksAuth, Status Code: 429)",
        "The security token included in the request is expired",
        "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token: no such file",
    ],
)
def test_reasons_are_not_taken_for_keys(container, text):
    container.faults["credentials"] = itertools.repeat(reply(403, text))
    assert failure(container.environ).endswith(f"HTTP status 403, {text}")


def test_pieces_shorter_than_eight_characters_are_words(container):
    container.authorization = f"Bearer {SENT}"
    said = f"no key {SENT[3:10]} here"
    container.faults["credentials"] = itertools.repeat(reply(403, said))
    assert failure(container.environ).endswith(said)
    container.faults["credentials"] = itertools.repeat(reply(403, f"no key {SENT[3:11]} here"))
    assert failure(container.environ).endswith("no key …")


@pytest.mark.parametrize("kind", CALLERS)
def test_no_secret_whoever_asks(container, kind):
    container.authorization = f"Bearer {SENT}"
    container.issued.update(SecretAccessKey=RECEIVED, Token=RECEIVED_TOKEN)
    said = json.dumps({**container.issued, "code": SENT, "message": RECEIVED, "Expiration": RECEIVED_TOKEN})
    container.faults["credentials"] = itertools.repeat(reply(403, said))
    credentials = iamcacheauth.EnvironmentCredentials(container.environ, timeout=LONG)
    auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=credentials)
    for outcome in CALLERS[kind](auth):
        assert "HTTP status 403" in outcome.error
        assert pieces_of([SENT, RECEIVED, RECEIVED_TOKEN], outcome.told) == []


def test_nothing_of_a_good_answer_is_in_the_way(server):
    """The markers above are credentials like others."""
    server.issued.update(SecretAccessKey=RECEIVED, Token=RECEIVED_TOKEN)
    assert fields(retrieve(server.environ)) == server.issued


def test_the_kinds_of_operations_are_all_there():
    assert {kind for kind, _ in OPERATIONS} == {Sts, Container, Imds}
    assert not set(SENT + RECEIVED) - set(string.ascii_letters + string.digits)


def test_settings_that_hold_a_secret_are_not_repeated(resolver):
    """Put into the wrong variable, as happens."""
    for variable, more in (
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", {}),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", {}),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", {}),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", {}),
        ("AWS_METADATA_SERVICE_TIMEOUT", {}),
        ("AWS_METADATA_SERVICE_NUM_ATTEMPTS", {}),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/cache-reader"}),
        ("AWS_CREDENTIAL_EXPIRATION", {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": RECEIVED}),
    ):
        provider = iamcacheauth.EnvironmentCredentials({variable: NOT_OURS, **more}, timeout=LONG)
        message = refused(provider, [NOT_OURS, RECEIVED])
        assert variable in message
    assert resolver.asked == []


@pytest.mark.parametrize("field", ['"SecretAccessKey": "', '"Token":"', "<SessionToken>"])
def test_what_stands_behind_a_keys_name_is_not_repeated(container, field):
    """However short or mangled, in text that is neither JSON nor XML as a whole."""
    container.faults["credentials"] = itertools.repeat(reply(403, f"oops, {field}Kq3vYt8-Wm1Zd6R"))
    message = failure(container.environ)
    assert "oops, …" in message
    assert "Kq3vYt8" not in message
