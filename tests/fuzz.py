"""Coverage-guided fuzzing of everything in the module that reads what others wrote.

    python tests/fuzz.py [--seconds N] [TARGET ...]   look for new inputs, N seconds for each target
    python tests/fuzz.py --replay [TARGET ...]        run the inputs that were kept, for instance under coverage

Whatever a target is fed, it has to end soon and in order, with at most an error of the module's own, in one line,
without a secret. Inputs that reach something new are kept in .fuzz_cache/TARGET; the one that ended a run lies
beside that folder. No name resolves here and nothing connects: servers are pairs of sockets, already written to.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Callable
from unittest import mock
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).resolve().parent))  # it may be missing there: see PYTHONSAFEPATH
if "--replay" not in sys.argv:
    import email._parseaddr
    import email.feedparser
    import http.client
    import importlib
    import urllib.parse

    import atheris

    with atheris.instrument_imports():
        for module in (email._parseaddr, email.feedparser, http.client, urllib.parse):
            importlib.reload(module)
        import subject  # noqa: F401
from checking import SESSION
from examples import NOON, SECRET_KEY, SESSION_TOKEN, TEMPORARY
from loopback import CA_FILE, ROLE_ARN, Container, Sts, head
from subject import iamcacheauth
from vector_files import FOLDER, load

KEPT = Path(__file__).resolve().parent.parent / ".fuzz_cache"
SOURCE = Path(iamcacheauth.__file__).read_text("utf-8")
LONGEST = 70_000  # bytes of an input, a little more than any reader takes
SECONDS = 1.0  # of processor time for one input
PIECE = 12  # characters of a secret that are too many
PARTS = b"\0\0"  # between the parts of an input, such as the answers of several servers

TOKEN = ["token", "elasticache", "my-iam-user", "my-cache", "--region", "us-east-1"]
CHECK = ["check", *TOKEN[1:], "--endpoint", "localhost:6379", "--ca-file", CA_FILE]
CHECKER = iamcacheauth._Check(iamcacheauth._parsed_arguments(CHECK))
# What it signs, as the clock stands still.
TOLD_CACHE = CHECKER._generator._sign(TEMPORARY, NOON)
TOLD_STS = iamcacheauth.presign(
    TEMPORARY,
    service="sts",
    region="us-east-1",
    host="localhost",
    params=[("Action", "GetCallerIdentity"), ("Version", "2011-06-15")],
    timestamp="20260102T120000Z",
)

# --- what must hold ---


class Finding(Exception):
    """Something that must not happen."""


def require(condition: object, rule: str) -> None:
    if not condition:
        raise Finding(rule)


def require_silence(text: str, secrets: Iterable[str], public: Iterable[str] = ()) -> None:
    """No piece of a secret is in the text, unless it is known from elsewhere."""
    hidden, known = "\0".join(secrets), "\0".join(public)
    for start in range(len(text) - PIECE + 1):
        piece = text[start : start + PIECE]
        require(piece not in hidden or piece in known or piece in SOURCE, f"a piece of a secret: {piece!r}")


def require_own_error(call: Callable[[], object], secrets: Iterable[str], public: Iterable[str] = ()) -> None:
    try:
        call()
    except iamcacheauth.Error as error:
        require(str(error) and str(error).isprintable(), f"not one printable line: {error}")
        behind: BaseException | None = error
        while behind is not None:  # as a traceback has it
            require_silence(str(behind), secrets, public)
            behind = behind.__cause__ or (None if behind.__suppress_context__ else behind.__context__)


def printed(run: Callable[[], int], stdin: bytes = b"", environ: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    files = [io.BytesIO(stdin), io.BytesIO(), io.BytesIO()]
    streams = [io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="", write_through=True) for file in files]
    replaced = mock.patch.multiple(sys, **dict(zip(("stdin", "stdout", "stderr"), streams)))
    with replaced, mock.patch.object(os, "environ", environ or {}):
        status = run()
    stdout, stderr = (file.getvalue().decode() for file in files[1:])
    require(status in (0, 1, 2), f"exit status {status}")
    require(all(line.isprintable() for line in stdout.split("\n")), f"not printable: {stdout!r}")
    one_line = stderr.startswith("iamcacheauth: ") and stderr.endswith("\n") and stderr[:-1].isprintable()
    require(one_line or not stderr, f"not one line: {stderr!r}")
    return status, stdout, stderr


# --- targets ---


def explain(data: bytes) -> None:
    """What comes on the standard input."""
    status, stdout, stderr = printed(lambda: iamcacheauth._run_explain(None), data)
    require(not stderr and (status == 0) == ("Nothing is wrong" in stdout), f"{status}: {stderr}")
    text = data.decode("utf-8", "replace")
    secrets = re.findall(r"X-Amz-(?:Security-Token|Signature)=([\w+/%-]*)", f"{text}&{unquote(text)}")
    require_silence(unquote(stdout), [unquote(form) for secret in secrets for form in (secret, unquote(secret))])


def check(data: bytes) -> None:
    """What a cache answers to AUTH and PING, and then STS, all of which know the session token and the signature."""
    ask_server = iamcacheauth._Check._ask

    def ask_on_its_own_connection(self: Any, _: object, *words: str) -> Any:  # so that one answer is read at a time
        return ask_server(self, iamcacheauth._connect("localhost", 6379, time.monotonic() + 5), *words)

    steps = {
        "_connect": lambda _: (io.BytesIO(), "connected"),
        "_start_tls": lambda _, connection: (connection, "secured"),
        "_ask": ask_on_its_own_connection,
    }
    with servers(*data.split(PARTS), b"", b""), mock.patch.multiple(iamcacheauth._Check, **steps):
        _, stdout, stderr = printed(CHECKER.run, environ={**SESSION, "AWS_ENDPOINT_URL_STS": "http://localhost"})
    require(not stderr, stderr)
    for told, output in zip((TOLD_CACHE, TOLD_STS), stdout.partition("\nidentity ")[::2]):
        require_silence(output, [SECRET_KEY, SESSION_TOKEN, iamcacheauth._secrets_in(told)])


def sources(data: bytes) -> None:
    """Variables, the content of a file that they name as FILE, and what servers answer that hand out credentials."""
    variables, content, *answers = [*data.split(PARTS), b""] if PARTS in data else [data, b""]
    issued = re.compile(r"""(?<=["<])(SecretAccessKey|Token|SessionToken)("\s*:\s*"|>)([^"<]*)""")
    theirs = as_text(b"".join(answers))
    secrets = [Container.authorization, Sts.token, *(secret for *_, secret in issued.findall(theirs))]
    with tempfile.NamedTemporaryFile() as file, servers(*answers):
        file.write(content)
        file.flush()
        environ = {name: file.name if value == "FILE" else value for name, value in as_environ(variables).items()}
        public = [issued.sub("", theirs), environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "")]
        require_own_error(iamcacheauth.EnvironmentCredentials(environ), secrets, public)


def response(data: bytes) -> None:
    """What a web server answers; an error repeats nothing of it."""

    def exchange() -> None:
        _, headers, body = ask("http://localhost/")
        require(isinstance(iamcacheauth._seconds_ahead(headers), float), "not a number of seconds")
        require(len(body) <= iamcacheauth._SIZE_LIMIT, "larger than allowed")

    with servers(data):
        require_own_error(exchange, [as_text(data)])


def arguments(data: bytes) -> None:
    """One text as the argument of all that takes text; an error repeats nothing of it but what a cache is called."""
    text = as_text(data)
    request = {"service": "s", "region": "r", "host": "h", "params": [("a", "b")], "timestamp": "20260102T030405Z"}

    def token(service: type, user: str = "u", name: str = "n", region: str = "us-east-1") -> str:
        return service(user, name, region=region, credentials=TEMPORARY).token()

    services = (iamcacheauth.ElastiCacheAuth, iamcacheauth.MemoryDBAuth)
    calls = [
        *(partial(token, service, **{name: text}) for service in services for name in ("user", "name", "region")),
        *(partial(iamcacheauth.presign, TEMPORARY, **{**request, name: text}) for name in request),
        partial(iamcacheauth.presign, TEMPORARY, **{**request, "params": [(text, text)]}),
        partial(iamcacheauth.StaticCredentials, text, text, text),
        partial(iamcacheauth.StaticCredentials, "k", "s", expiration=text),
        lambda: iamcacheauth._endpoint_doubts(CHECKER._generator, iamcacheauth._host_and_port(text)[0]),
        lambda: ask(iamcacheauth._checked_url("URL", text)),
        lambda: iamcacheauth._number({"NUMBER": text}, "NUMBER"),
    ]
    zone = re.fullmatch("([a-z-]+[0-9]+)[A-Za-z]", text)
    for call in calls:
        with servers(head(204)):
            require_own_error(call, [text], [iamcacheauth._probable_name(text), zone[1] if zone else ""])


def command(data: bytes) -> None:
    """Arguments and variables."""
    words, _, variables = data.partition(PARTS)
    arguments, environ = as_text(words).split("\0")[:100], as_environ(variables)
    status, stdout, stderr = printed(lambda: iamcacheauth.main(arguments), environ=environ)
    secrets = [environ.get(name, "") for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]
    if status == 0 and arguments[0] == "token":
        secrets.pop()  # it is a part of what was printed
    require_silence(stdout, secrets, [value for value in (*arguments, *environ.values()) if value not in secrets])
    error = re.sub("^iamcacheauth: |usage: .*|(probably '|zone of ).*", "", stderr)
    require_silence(error, [*secrets, *arguments])


TARGETS = {target.__name__: target for target in (explain, check, sources, response, arguments, command)}


@contextmanager
def servers(*answers: bytes) -> Iterator[None]:
    """Every connection finds the next of the answers, and is refused when there are none left."""
    waiting = iter(answers)
    with ExitStack() as connections:

        def connect(host: str, port: int, deadline: float) -> socket.socket:
            host.encode("idna")  # as looking it up would
            answer = next(waiting, None)
            if answer is None:
                raise ConnectionRefusedError
            client, server = map(connections.enter_context, socket.socketpair())
            client.settimeout(iamcacheauth._left(deadline))
            server.sendall(answer)
            server.shutdown(socket.SHUT_WR)
            return client

        with mock.patch.object(iamcacheauth, "_connect", connect):
            yield


def ask(url: str) -> Any:
    return iamcacheauth._http("GET", url, time.monotonic() + 5, {}, ca_file=CA_FILE)


def as_text(data: bytes) -> str:
    """As Python decodes arguments and variables."""
    return data.decode("utf-8", "surrogateescape")


def as_environ(data: bytes) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition("=") for pair in as_text(data).split("\0"))}


# --- inputs to begin with, and how they change ---

ISSUED = {
    "Code": "Success",
    "AccessKeyId": TEMPORARY.access_key,
    "SecretAccessKey": SECRET_KEY,
    "Token": SESSION_TOKEN,
    "Expiration": "2099-01-01T00:00:00Z",
}
ELEMENTS = "".join(f"<{name}>{value}</{name}>" for name, value in ISSUED.items()).replace("Token>", "SessionToken>")
JSON = head(200) + json.dumps(ISSUED).encode()
XML = head(200) + f'<A xmlns="https://sts.amazonaws.com/doc/2011-06-15/">{ELEMENTS}</A>'.encode()
REFUSAL = head(403) + f"<A><Code>ExpiredToken</Code><Message>{escape(TOLD_STS)}</Message></A>".encode()
IDENTITY = head(200, "Date: Fri, 02 Jan 2026 12:00:00 GMT") + f"<A><Arn>{ROLE_ARN}</Arn></A>".encode()
WRONGPASS = b"-WRONGPASS invalid username-password pair\r\n"
WEB_IDENTITY = [
    b"AWS_WEB_IDENTITY_TOKEN_FILE=FILE\0AWS_ROLE_ARN=r\0AWS_ENDPOINT_URL=http://localhost",
    Sts.token.encode(),
]
AUTHORIZATION = b"AWS_CONTAINER_AUTHORIZATION_TOKEN=" + Container.authorization.encode()
CONTAINER = [b"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://localhost/\0" + AUTHORIZATION, b""]
INSTANCE = [b"AWS_METADATA_SERVICE_NUM_ATTEMPTS=2\0AWS_METADATA_SERVICE_TIMEOUT=2", b"", head(200) + b"session-token"]
LINES = [TOKEN, ["token", "memorydb", *TOKEN[2:]], [*TOKEN, "--serverless"], [*CHECK, "--timeout", "5"], ["--help"]]
SEEDS = {
    "explain": [
        [TOLD_CACHE.encode()],
        *([case["token"].encode()] for path in sorted(FOLDER.glob("tokens_*.json")) for case in load(path)[::20]),
    ],
    "check": [
        [b"+OK\r\n", b"+PONG\r\n"],
        [f"-ERR unknown command 'AUTH', with args beginning with: {TOLD_CACHE} {quote(TOLD_CACHE)}\r\n".encode()],
        [WRONGPASS, IDENTITY],
        [WRONGPASS, REFUSAL],
    ],
    "sources": [
        [*WEB_IDENTITY, XML],
        [*WEB_IDENTITY, REFUSAL],
        [*CONTAINER, head(500), JSON],
        [*INSTANCE, head(200) + b"role", JSON],
    ],
    "response": [
        [JSON],
        [IDENTITY],
        [head(301, "Content-Length: 2", "Location: /") + b"{}"],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + head(200, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n"],
    ],
    "arguments": [
        [b"master.my-cache.abc123.use1.cache.amazonaws.com:6379"],
        [b"arn:aws:memorydb:us-east-1:123456789012:cluster/my-cluster"],
        [b"http://[fd00:ec2::23]/v1/credentials?a=b"],
        [b"us-gov-west-1a"],
        [b"2026-01-02T03:04:05.678+09:00"],
    ],
    "command": [["\0".join(line).encode(), "\0".join(map("=".join, SESSION.items())).encode()] for line in LINES],
}


def dictionary() -> str:
    """All short texts in the module's source, in libFuzzer's form."""
    constants = {node.value for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.Constant)}
    words = sorted(constant.encode("utf-8", "replace") for constant in constants if isinstance(constant, str))
    return "".join('"' + re.sub("..", r"\\x\g<0>", word.hex()) + '"\n' for word in words if 1 < len(word) <= 40)


def mutated(data: bytes, longest: int, seed: int) -> bytes:
    """Any change; or one field changed, left out, doubled or, rarely, repeated up to the limit."""
    rng = random.Random(seed)
    separator = rng.choice([PARTS, b"\0", b"\r\n", b"&", b"=", b"%", b"<", b",", b"."])
    fields = data.split(separator)
    chosen, choice = rng.randrange(len(fields)), rng.random()
    if choice < 0.5 or len(fields) == 1:
        return atheris.Mutate(data, longest)
    if choice < 0.8:
        fields[chosen] = atheris.Mutate(fields[chosen], len(fields[chosen]) + 64)
    else:
        times = rng.choice([0, 2]) if choice < 0.995 else longest // (len(fields[chosen]) + 1)
        fields[chosen : chosen + 1] = [fields[chosen]] * times
    return separator.join(fields)[:longest]


# --- running ---


def no_way_out(event: str, _: object) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def stop_the_clock() -> None:
    gmtime = time.gmtime
    time.time = lambda: NOON
    time.gmtime = lambda seconds=NOON: gmtime(seconds)
    time.sleep = lambda _: None


def run(name: str, data: bytes) -> None:
    started = time.process_time()
    TARGETS[name](data)
    require(time.process_time() - started < SECONDS, "it takes too long")


def fuzz(name: str, seconds: int) -> None:
    (KEPT / "dictionary").write_text(dictionary())
    options = {
        "max_total_time": seconds,
        "max_len": LONGEST,
        "dict": KEPT / "dictionary",
        "artifact_prefix": f"{KEPT / name}-",
        "timeout": 10,
        "rss_limit_mb": 512,
    }
    words = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup([sys.argv[0], *words, str(KEPT / name)], partial(run, name), custom_mutator=mutated)
    atheris.Fuzz()  # and exit


def replay(name: str) -> None:
    paths = [*(KEPT / name).iterdir(), *KEPT.glob(f"{name}-*")]
    for path in paths:
        run(name, path.read_bytes())
    print(f"{name}: {len(paths)} inputs")


def main() -> None:
    parser = argparse.ArgumentParser(description="Feed the module what others may write.")
    parser.add_argument("targets", metavar="TARGET", nargs="*", default=[*TARGETS], help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--replay", action="store_true", help="only run the inputs that were kept")
    options = parser.parse_args()
    if not TARGETS.keys() >= {*options.targets}:
        parser.error(f"known targets: {', '.join(TARGETS)}")
    if len(options.targets) > 1 and not options.replay:  # each in a process of its own, for libFuzzer ends it
        arguments = [sys.executable, __file__, "--seconds", str(options.seconds)]
        sys.exit(max(subprocess.run([*arguments, name]).returncode for name in options.targets))
    sys.addaudithook(no_way_out)
    stop_the_clock()
    for name in options.targets:
        (KEPT / name).mkdir(parents=True, exist_ok=True)
        for number, parts in enumerate(SEEDS[name]):
            (KEPT / name / f"seed-{number}").write_bytes(PARTS.join(parts))
        replay(name) if options.replay else fuzz(name, options.seconds)


if __name__ == "__main__":
    main()
