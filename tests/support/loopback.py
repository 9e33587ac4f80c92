"""The places that credentials are fetched from, played on loopback: strict about the protocol, and broken on demand.

    with Imds() as imds:
        iamcacheauth.EnvironmentCredentials(imds.environ)()  # then look at imds.requests

Every answer is a function that talks on the connection, which is closed after it. In its place comes the next fault
that the server has for the operation: ``imds.faults["role"] = iter([reply(500)])``. The operations are "credentials",
for instance metadata also "token" and "role", and "connection", which replaces all that follows accepting one.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import socketserver
import ssl
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Callable, NamedTuple
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from support.examples import SECRET_KEY, SESSION_TOKEN
from support.waiting import PATIENCE

AUTHORITY = Path(__file__).parent / "authority"
CA_FILE = str(AUTHORITY / "ca.pem")
ROLE_ARN = "arn:aws:iam::123456789012:role/cache-reader"

Answer = Callable[[socket.socket], None]


def iso8601(epoch: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


# --- answers, good and bad ---


def raw(data: bytes) -> Answer:
    return lambda connection: connection.sendall(data)


def head(status: int, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Connection: close", *headers, "", "")
    return "\r\n".join(lines).encode("latin-1")


def reply(status: int, body: str | bytes = b"", *headers: str) -> Answer:
    content = body.encode() if isinstance(body, str) else body
    return raw(head(status, f"Content-Length: {len(content)}", *headers) + content)


def sts_error(status: int, code: str, message: str) -> Answer:
    return reply(
        status,
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <Error>\n    <Type>Sender</Type>\n'
        f"    <Code>{escape(code)}</Code>\n    <Message>{escape(message)}</Message>\n  </Error>\n"
        "  <RequestId>ad4156e9-bce1-11e2-82e6-6b6efEXAMPLE</RequestId>\n</ErrorResponse>\n",
    )


def issued_by(action: str, issued: dict[str, str]) -> Answer:
    """What STS answers to an action that gives a session."""
    fields = {field.replace("Token", "SessionToken"): escape(text) for field, text in issued.items()}
    elements = "".join(f"      <{field}>{text}</{field}>\n" for field, text in fields.items())
    return reply(
        200,
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <{action}Result>\n'
        f"    <Credentials>\n{elements}    </Credentials>\n  </{action}Result>\n</{action}Response>\n",
    )


def silence(connection: socket.socket) -> None:
    """Say nothing until the client leaves."""
    while connection.recv(65536):
        pass


def late(seconds: float, answer: Answer) -> Answer:
    def wait_and_answer(connection: socket.socket) -> None:
        select.select([connection], [], [], seconds)
        answer(connection)

    return wait_and_answer


def drip(start: bytes, filler: bytes) -> Answer:
    """Send the start, then the filler again and again, slowly, until the client leaves."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(start)
        while not select.select([connection], [], [], 0.02)[0] or connection.recv(65536):
            connection.sendall(filler)

    return answer


def flood(start: bytes, filler: bytes, size: int = 100_000_000) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.sendall(start)
        block = filler * (65536 // len(filler))
        for _ in range(size // len(block)):
            connection.sendall(block)

    return answer


# --- servers ---


class Request(NamedTuple):
    method: str
    target: str
    headers: Message
    body: bytes


class Violation(Exception):
    """What the client did against the protocol, after the status that the real service refuses it with."""


def demand(condition: object, status: int, rule: str) -> None:
    if not condition:
        raise Violation(status, rule)


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE

    def _exchange(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        target = self.requestline.split()[1]  # in self.path, leading slashes are merged
        self.server.answer(Request(self.command, target, self.headers, body))(self.connection)

    do_CONNECT = do_GET = do_POST = do_PUT = _exchange

    def log_message(self, *_: object) -> None:
        pass


class Server(socketserver.ThreadingTCPServer):
    """One source of credentials: ``issued`` is what it hands out, ``environ`` are the variables that name it."""

    allow_reuse_address = True
    daemon_threads = False
    request_queue_size = 128
    tls: ssl.SSLContext | None = None

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.002,))
        self._errors: list[BaseException | None] = []
        self._connections: set[socket.socket] = set()
        self.requests: list[Request] = []
        self.faults: dict[str, Iterator[Answer]] = {}
        self.issue()

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        for connection in list(self._connections):  # of clients that do not leave, which only a failed test has
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self.server_close()
        if self._errors:
            raise AssertionError("a server failed") from self._errors[0]

    def issue(self) -> None:
        """Make good credentials to hand out from now on; a test may change what is in them."""
        self.issued = {
            "AccessKeyId": "ASIAIOSFODNN7EXAMPLE",
            "SecretAccessKey": SECRET_KEY,
            "Token": f"{SESSION_TOKEN}{type(self).__name__}",
            "Expiration": iso8601(time.time() + 6 * 3600),
        }

    @property
    def url(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self.server_address[1]}"

    @property
    def secrets(self) -> set[str]:
        """What must not show up anywhere but in requests and credentials."""
        return {SECRET_KEY, SESSION_TOKEN}

    def serve(self, request: Request) -> tuple[str, Answer]:
        """The operation that the request asks for, and what the real service would answer."""
        raise NotImplementedError

    def fault(self, operation: str) -> Answer | None:
        return next(self.faults.get(operation, iter(())), None)

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        try:
            demand(request.target.startswith("/"), 400, "a proxy's request line")
            for header in ("Proxy-Connection", "Proxy-Authorization", "Via", "Forwarded", "X-Forwarded-For"):
                demand(header not in request.headers, 403, f"a proxy's header: {header}")
            operation, answer = self.serve(request)
        except Violation as violation:
            return reply(*violation.args)
        return self.fault(operation) or answer

    def finish_request(self, request: socket.socket, client_address: object) -> None:
        request.settimeout(PATIENCE)
        fault = self.fault("connection")
        secure = self.tls and not fault
        with self.tls.wrap_socket(request, server_side=True) if secure else request as connection:
            self._connections.add(connection)
            try:
                fault(connection) if fault else super().finish_request(connection, client_address)
            finally:
                self._connections.discard(connection)

    def handle_error(self, *_: object) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # clients that leave early are what many tests are about
            self._errors.append(error)


class Container(Server):
    """The endpoint of ECS, Fargate, EKS Pod Identity and Lambda SnapStart."""

    target = "/v2/credentials/0c2b?with=query"
    authorization: str | None = "Bearer of=the+container/token"

    @property
    def environ(self) -> dict[str, str]:
        environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": self.url + self.target}
        if self.authorization is not None:
            environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = self.authorization
        return environ

    @property
    def secrets(self) -> set[str]:
        return super().secrets | {self.authorization or SECRET_KEY}

    def serve(self, request: Request) -> tuple[str, Answer]:
        demand(request.method == "GET", 405, "only GET")
        demand(request.target == self.target, 404, "another path")
        demand(request.headers.get_all("Accept") == ["application/json"], 406, "Accept: application/json")
        demand(request.headers.get("Authorization") == self.authorization, 401, "another Authorization")
        return "credentials", reply(200, json.dumps({**self.issued, "RoleArn": ROLE_ARN}))


class Imds(Server):
    """EC2's instance metadata service, version 2."""

    role = "cache-reader"
    session_token = "AQAEAIMDSsession-token=="
    _roles = "/latest/meta-data/iam/security-credentials/"

    @property
    def environ(self) -> dict[str, str]:
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url}

    @property
    def secrets(self) -> set[str]:
        return super().secrets | {self.session_token}

    def serve(self, request: Request) -> tuple[str, Answer]:
        if request.target == "/latest/api/token":
            demand(request.method == "PUT", 405, "only PUT")
            ttl = request.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            demand(ttl.isdigit() and 1 <= int(ttl) <= 21600, 400, "a lifetime from 1 to 21600 seconds")
            return "token", reply(200, self.session_token)
        demand(request.method == "GET", 405, "only GET")
        demand(request.headers.get("X-aws-ec2-metadata-token") == self.session_token, 401, "a session token")
        if request.target == self._roles:
            return "role", reply(200, self.role)
        demand(request.target == self._roles + self.role, 404, "another path")
        return "credentials", reply(200, json.dumps({"Code": "Success", "Type": "AWS-HMAC", **self.issued}))


class Sts(Server):
    """AssumeRoleWithWebIdentity, over TLS; ``plain`` is without."""

    token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0ZXN0cyJ9.web-identity_signature"
    session_name: str | None = None  # the one that is demanded, if any

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0), *, plain: bool = False) -> None:
        super().__init__(address)
        if not plain:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(AUTHORITY / "server.pem")
        self._folder = tempfile.TemporaryDirectory()
        self.token_file = Path(self._folder.name, "token")
        self.token_file.write_text(self.token + "\n")

    def server_close(self) -> None:
        super().server_close()
        self._folder.cleanup()

    @property
    def environ(self) -> dict[str, str]:
        return {
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(self.token_file),
            "AWS_ROLE_ARN": ROLE_ARN,
            "AWS_ENDPOINT_URL_STS": self.url,
            "AWS_CA_BUNDLE": CA_FILE,
        }

    @property
    def secrets(self) -> set[str]:
        return super().secrets | {self.token}

    def serve(self, request: Request) -> tuple[str, Answer]:
        demand(request.method == "POST" and request.target == "/", 405, "POST /")
        content_type = request.headers.get("Content-Type", "").partition(";")[0]
        demand(content_type == "application/x-www-form-urlencoded", 400, "a form")
        for header in request.headers:
            demand(header.lower() != "authorization", 400, "no Authorization")
            demand(not header.lower().startswith("x-amz-"), 400, f"no signature, but {header} came")
        form = parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
        fields = dict(form)
        names = ["Action", "RoleArn", "RoleSessionName", "Version", "WebIdentityToken"]
        demand(sorted(name for name, _ in form) == names, 400, "each field once and no other")
        demand(fields["Action"] == "AssumeRoleWithWebIdentity", 400, "another action")
        demand(fields["Version"] == "2011-06-15", 400, "another version")
        demand(fields["RoleArn"] == ROLE_ARN, 403, "another role")
        name = fields["RoleSessionName"]
        demand(re.fullmatch(r"[\w+=,.@-]{2,64}", name, re.ASCII), 400, "a session name")
        demand(self.session_name in (None, name), 403, "another session name")
        if fields["WebIdentityToken"] != self.token:
            return "credentials", sts_error(400, "InvalidIdentityToken", "The token is not known")
        return "credentials", issued_by("AssumeRoleWithWebIdentity", self.issued)


# --- what the tests of sources share ---


def and_behind(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those behind it that a traceback shows."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def told(error: BaseException) -> str:
    """All that a log or a person gets to see of an error and of those behind it."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return text + "".join(f"\n{behind}\n{behind!r}" for behind in and_behind(error))
