"""The service's part, played by a real redis-server behind a TLS front that checks tokens as ElastiCache does.

    with Gate(Cache("elasticache", "my-cache", "us-east-1")) as gate:
        ...  # log in to gate.host, gate.port, trusting gate.ca_file; then look at gate.logins and gate.refusals

Tokens are verified with botocore, never with the module under test. What a client sends is passed on to Redis,
except that AUTH and HELLO carry Redis's own password once the token is found good. What is refused is passed on
as a command that no Redis knows: its error comes back in its place among the replies, whatever the client has
pipelined and also inside MULTI, and is replaced by the service's one sentence.

The script beside this file that is called `gate` runs it by itself, for programs of your own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hmac
import os
import secrets
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from calendar import timegm
from dataclasses import dataclass, field
from math import inf
from urllib.parse import parse_qsl

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import trustme

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from typing_extensions import Self

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TEMPORARY_ACCESS_KEY = "ASIAIOSFODNN7EXAMPLE"
SESSION_TOKEN = "AQoDYXdzEE0a8ANXXXXXXXXNO1ewxE5TijQyp+IEXAMPLE=="

WRONGPASS = "WRONGPASS invalid username-password pair or user is disabled."
# AWS's texts for a login that fails for no fault of the client's:
# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/connecting-public-endpoint.html
UNAVAILABLE = "ERR service is not available"
THROTTLED = "ERR Exceeded limit of IAM Authentication requests"
LOOPBACK = "127.0.0.1"
LINE_LIMIT = 2**24
PATIENCE = 120  # seconds that a test waits for what must happen; reached only by a test that fails


class Refused(Exception):
    """Why the service refuses a login, and ``answer``, which is all that it tells its clients.

    details: what the token says and what it should say, where that is no secret.
    """

    def __init__(self, reason: str, details: str = "", answer: str = WRONGPASS) -> None:
        super().__init__(reason)
        self.details = details
        self.answer = answer


# --- what the service knows and checks ---


@dataclass
class Cache:
    """One cache or cluster, its users, and the AWS keys that may connect."""

    service: str = "elasticache"
    name: str = "my-cache"
    region: str = "us-east-1"
    serverless: bool = False
    users: tuple[str, ...] = ("my-iam-user",)
    # access key id: secret access key, session token
    keys: dict[str, tuple[str, str | None]] = field(
        default_factory=lambda: {
            ACCESS_KEY: (SECRET_KEY, None),
            TEMPORARY_ACCESS_KEY: (SECRET_KEY, SESSION_TOKEN),
        }
    )

    def check(self, user: str, token: str, now: float) -> None:
        """Raise Refused unless ``token`` lets ``user`` in at ``now``, in epoch seconds."""
        host, separator, query = token.partition("/?")
        pairs = parse_qsl(query, keep_blank_values=True)
        claims = dict(pairs)
        if not separator or len(claims) != len(pairs):
            raise Refused("not a token")
        signature = claims.pop("X-Amz-Signature", "")
        access_key, *scope = claims.get("X-Amz-Credential", "").split("/")
        secret_key, session_token = self.keys.get(access_key, ("", None))
        timestamp = claims.get("X-Amz-Date", "")
        signed_at = _epoch(timestamp)

        self._check_names(host, claims, user)
        _require(access_key in self.keys, "unknown access key", access_key)
        _require(
            claims.pop("X-Amz-Security-Token", None) == session_token,
            "session token",
            "a key that begins with ASIA has one, a key that begins with AKIA has none",
        )
        _require_same("scope", "/".join(scope), f"{timestamp[:8]}/{self.region}/{self.service}/aws4_request")
        _require_same("algorithm", claims.get("X-Amz-Algorithm"), "AWS4-HMAC-SHA256")
        _require_same("signed headers", claims.get("X-Amz-SignedHeaders"), "host")
        _require_same("X-Amz-Expires", claims.get("X-Amz-Expires"), "900")
        _require(len(claims) == (8 if self.serverless else 7), "parameters", ", ".join(claims))
        _require(signed_at >= now - 900, "expired", f"signed {now - signed_at:.0f} s ago")
        _require(signed_at <= now + 300, "not yet valid", f"signed {signed_at - now:.0f} s ahead")
        pairs = [pair for pair in pairs if pair[0] != "X-Amz-Signature"]
        expected = sigv4(host, pairs, secret_key, self.service, self.region, timestamp)
        matches = hmac.compare_digest(expected.encode(), signature.encode())
        _require(matches, "signature", "signed with another secret key, or changed since")

    def _check_names(self, host: str, claims: dict[str, str], user: str) -> None:
        _require_same("host", host, self.name)
        _require_same("Action", claims.get("Action"), "connect")
        _require_same("another user's token", claims.get("User"), user)
        _require(user in self.users, "unknown user", user)
        _require_same("ResourceType", claims.get("ResourceType"), "ServerlessCache" if self.serverless else None)


def _require(condition: bool, reason: str, details: str = "") -> None:
    if not condition:
        raise Refused(reason, details)


def _require_same(reason: str, found: str | None, wanted: str | None) -> None:
    _require(found == wanted, reason, f"the token has {found!r}, this cache wants {wanted!r}")


def _epoch(timestamp: str) -> float:
    try:
        return timegm(time.strptime(timestamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise Refused("X-Amz-Date") from None


def sigv4(host: str, pairs: list[tuple[str, str]], secret_key: str, service: str, region: str, timestamp: str) -> str:
    """Return what botocore signs ``GET https://host/?pairs`` with at the time ``timestamp``."""
    signer = botocore.auth.SigV4QueryAuth(botocore.credentials.Credentials("", secret_key), service, region)
    request = botocore.awsrequest.AWSRequest("GET", f"https://{host}/", params=pairs)
    request.context["timestamp"] = timestamp
    return signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)


# --- Redis ---


class Redis:
    """A redis-server of its own that keeps nothing. Its default user is locked, others come from ``add_user``.

    options: of redis-server, after those that every server here gets.
    """

    def __init__(self, *options: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.socket = os.path.join(self._folder.name, "redis.sock")
        self.password = secrets.token_hex(16)
        command = ["redis-server", "--port", "0", "--unixsocket", self.socket, "--requirepass", self.password]
        command += ["--dir", self._folder.name, "--save", "", "--bind", LOOPBACK, *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.wait_for_log("ready to accept connections")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()
        self._folder.cleanup()

    def wait_for_log(self, text: str) -> None:
        for line in self._process.stdout:
            if text in line:
                return
        raise RuntimeError(f"redis-server ended before it wrote {text!r}")

    def run(self, *command: str) -> str:
        """The reply to a command of the administrator's."""
        environ = {**os.environ, "REDISCLI_AUTH": self.password}
        client = ["redis-cli", "-e", "-s", self.socket, *command]
        return subprocess.run(client, check=True, env=environ, stdout=subprocess.PIPE, text=True).stdout

    def add_user(self, user: str) -> None:
        self.run("ACL", "SETUSER", user, "on", f">{self.password}", "~*", "&*", "+@all")


def free_port() -> int:
    """A port for a server that cannot be asked which one it got."""
    with socket.create_server((LOOPBACK, 0)) as server:
        return int(server.getsockname()[1])


# --- the gate ---


@functools.cache
def authority() -> trustme.CA:
    """The one certificate authority of this process: some clients read the trusted certificates only once."""
    return trustme.CA()


@dataclass
class Login:
    user: str
    token: str


class Gate:
    """A TLS front for one Redis, or for several that are the nodes of one cluster.

    lifetime: hours after its last login at which a connection is cut. They pass when a test says so (``pass_hours``),
        so that what clients do at a cut does not depend on the speed of the machine.
    clock_offset: seconds by which the gate's clock is ahead of this machine's; may be set at any time.
    report: called with a line about every login, refusal and cut.
    """

    host = "localhost"

    def __init__(
        self,
        cache: Cache | None = None,
        *nodes: Redis,
        lifetime: int = 12,
        port: int = 0,
        report: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.cache = cache or Cache()
        self.lifetime = lifetime
        self.ports: list[int] = []
        self.ca_file = ""
        self._nodes = nodes
        self._first_port = port
        self._report = report
        self._forget()
        self._connections: set[_Connection] = set()
        self._changed = threading.Condition()
        self._cleanup = contextlib.ExitStack()

    def _forget(self) -> None:
        self.hours = 0
        self.clock_offset = 0.0
        self.logins: list[Login] = []
        self.refusals: list[str] = []
        self.cuts = 0
        self._to_refuse = 0
        self._answer = WRONGPASS

    @property
    def port(self) -> int:
        return self.ports[0]

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as cleanup:
            self._nodes = self._nodes or (cleanup.enter_context(Redis()),)
            for node in self._nodes:
                for user in self.cache.users:
                    node.add_user(user)
            self.ca_file = cleanup.enter_context(authority().cert_pem.tempfile())
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.num_tickets = 0  # a client that resumes a session does not look at the certificate again
            self.certify(self.host, LOOPBACK)
            thread = threading.Thread(target=asyncio.run, args=(self._run(),))
            thread.start()
            cleanup.callback(thread.join)
            self.wait_for(lambda: len(self.ports) == len(self._nodes))
            cleanup.callback(lambda: self._loop.call_soon_threadsafe(self._stop.set))
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def start_afresh(self) -> None:
        """End all connections, empty every node, and have it all as it was in the beginning."""
        self.cut_all()
        for node in self._nodes:
            node.run("FLUSHALL")
        self.certify(self.host, LOOPBACK)
        self._forget()

    def certify(self, *names: str) -> None:
        """From now on have a certificate for these names, from the authority that clients trust."""
        authority().issue_cert(*names).configure_cert(self._tls)

    def refuse_next(self, logins: int = 1, answer: str = WRONGPASS) -> None:
        """Refuse that many logins with this answer, whatever their tokens."""
        self._to_refuse = logins
        self._answer = answer

    def forbid(self, command: str) -> None:
        """Take the permission for a command from every user: Redis answers NOPERM."""
        self._set_permission(f"-{command}")

    def permit(self, command: str) -> None:
        self._set_permission(f"+{command}")

    def _set_permission(self, rule: str) -> None:
        for node in self._nodes:
            for user in self.cache.users:
                node.run("ACL", "SETUSER", user, rule)

    def cut_all(self) -> None:
        """Cut all the connections there are; return when it is done."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(PATIENCE)

    def pass_hours(self, hours: int = 1) -> None:
        """Cut the connections whose lifetime ends meanwhile; return when it is done."""
        asyncio.run_coroutine_threadsafe(self._pass_hours(hours), self._loop).result(PATIENCE)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return as soon as ``condition``, about this gate's logins, refusals or cuts, is true."""
        with self._changed:
            if not self._changed.wait_for(condition, PATIENCE):
                raise TimeoutError(f"{len(self.logins)} logins, {self.cuts} cuts, refusals: {self.refusals}")

    # What follows runs in the gate's own thread.

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        servers = [
            await asyncio.start_server(
                functools.partial(self._serve, node),
                LOOPBACK,
                self._first_port and self._first_port + number,
                ssl=self._tls,
                limit=LINE_LIMIT,
            )
            for number, node in enumerate(self._nodes)
        ]
        with self._changes():
            self.ports = [server.sockets[0].getsockname()[1] for server in servers]
        await self._stop.wait()
        for server in servers:
            server.close()
        while self._connections:
            await self._cut()

    async def _serve(self, node: Redis, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, node.password.encode(), writer)
        if self._stop.is_set():
            writer.transport.abort()
            return
        self._connections.add(connection)
        try:
            await connection.serve(reader, *await asyncio.open_unix_connection(node.socket, limit=LINE_LIMIT))
        except (OSError, EOFError):
            pass  # that is how connections end
        finally:
            self._connections.discard(connection)
            connection.ended.set()

    async def _pass_hours(self, hours: int) -> None:
        self.hours += hours
        await self._cut(last_login=self.hours - self.lifetime)

    async def _cut(self, last_login: float = inf) -> None:
        """Cut the connections whose last login was then, or before."""
        for connection in list(self._connections):
            if connection.last_login <= last_login:
                connection.cut()
                await connection.ended.wait()

    @contextlib.contextmanager
    def _changes(self) -> Iterator[None]:
        with self._changed:
            yield
            self._changed.notify_all()

    def admit(self, user: str, token: str, in_multi: bool) -> str:
        """Decide about one login and keep the record of it: why it is refused, in the service's words; or nothing."""
        with self._changes():
            try:
                self._check(user, token, in_multi)
            except Refused as refused:
                self.refusals.append(str(refused))
                self._report(f"refused  {user}: {refused}" + (f" ({refused.details})" if refused.details else ""))
                return refused.answer
            self.logins.append(Login(user, token))
            self._report(f"login    {user}")
            return ""

    def _check(self, user: str, token: str, in_multi: bool) -> None:
        if self._to_refuse > 0:
            self._to_refuse -= 1
            raise Refused("on demand", answer=self._answer)
        _require(not in_multi, "inside MULTI")
        self.cache.check(user, token, time.time() + self.clock_offset)

    def count_cut(self) -> None:
        with self._changes():
            self.cuts += 1
            self._report("cut")


class _Connection:
    """One client's connection, and the gate's own to Redis on the client's behalf."""

    def __init__(self, gate: Gate, password: bytes, writer: asyncio.StreamWriter) -> None:
        self.ended = asyncio.Event()
        self.last_login = inf  # by the gate's hours
        self._gate = gate
        self._password = password
        self._writer = writer
        self._refusal = f"refused-{secrets.token_hex(8)}".encode()
        self._answers: list[str] = []  # to logins that were refused and whose turn among the replies is to come
        self._in_multi = False

    async def serve(
        self, commands: asyncio.StreamReader, replies: asyncio.StreamReader, redis: asyncio.StreamWriter
    ) -> None:
        passing_replies = asyncio.create_task(self._pass_replies(replies))
        self._tasks = (asyncio.current_task(), passing_replies)  # asyncio alone would let them be collected
        try:
            while True:
                redis.write(_encoded(self._passed_on(await _read_command(commands))))
                await redis.drain()
        finally:
            redis.close()
            await asyncio.gather(passing_replies, return_exceptions=True)

    def cut(self) -> None:
        if not self._writer.transport.is_closing():
            self._writer.transport.abort()
            self._gate.count_cut()

    async def _pass_replies(self, replies: asyncio.StreamReader) -> None:
        try:
            async for line in replies:
                if line.startswith(b"-ERR unknown command '" + self._refusal):
                    line = f"-{self._answers.pop(0)}\r\n".encode()
                self._writer.write(line)
                await self._writer.drain()
        finally:
            self._writer.close()

    def _passed_on(self, command: list[bytes]) -> list[bytes]:
        """What Redis gets for a command of the client's."""
        name = command[0].upper()
        if name in (b"EXEC", b"DISCARD", b"RESET"):
            self._in_multi = False
        if name == b"MULTI":
            self._in_multi = self.last_login < inf
        if name == b"AUTH" and len(command) == 2:
            command = [name, b"default", command[1]]
        position = _user_position(name, command)
        if position is None:
            return command
        user, token = command[position : position + 2]
        refusal = self._gate.admit(user.decode(errors="replace"), token.decode(errors="replace"), self._in_multi)
        if refusal:
            self._answers.append(refusal)
            return [self._refusal]
        self.last_login = self._gate.hours
        return [*command[: position + 1], self._password, *command[position + 2 :]]


def _user_position(name: bytes, command: list[bytes]) -> int | None:
    """Where the user stands in AUTH user token and in HELLO 3 AUTH user token; None where there is none."""
    words = [word.upper() for word in command]
    start = {b"AUTH": 0, b"HELLO": 2}.get(name)
    if start is None or b"AUTH" not in words[start:-2]:
        return None
    return words.index(b"AUTH", start) + 1


async def _read_command(reader: asyncio.StreamReader) -> list[bytes]:
    line = await reader.readline()
    if not line:
        raise EOFError
    if not line.startswith(b"*"):
        return line.split() or await _read_command(reader)  # typed by hand, as Redis allows it
    return [await _read_bulk(reader) for _ in range(int(line[1:]))]


async def _read_bulk(reader: asyncio.StreamReader) -> bytes:
    length = int((await reader.readline())[1:])
    return (await reader.readexactly(length + 2))[:-2]


def _encoded(command: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in command)


# --- clusters ---

SLOTS = 16384


@contextlib.contextmanager
def cluster(shards: int, cache: Cache | None = None, **options: Any) -> Iterator[Gate]:
    """A gate before that many nodes in cluster mode, which announce the gate's ports for their own."""
    bus_ports = [str(free_port()) for _ in range(shards)]
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(Redis("--cluster-enabled", "yes", "--cluster-port", p)) for p in bus_ports]
        gate = stack.enter_context(Gate(cache, *nodes, **options))
        for number, (node, port) in enumerate(zip(nodes, gate.ports)):
            node.run("CONFIG", "SET", "cluster-announce-port", str(port))
            node.run("CONFIG", "SET", "cluster-announce-hostname", gate.host)
            node.run("CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")
            first, after_last = SLOTS * number // shards, SLOTS * (number + 1) // shards
            node.run("CLUSTER", "ADDSLOTSRANGE", str(first), str(after_last - 1))
        for port, bus_port in zip(gate.ports[1:], bus_ports[1:]):
            nodes[0].run("CLUSTER", "MEET", LOOPBACK, str(port), bus_port)
        for node in nodes:
            node.wait_for_log("Cluster state changed: ok")
        yield gate
