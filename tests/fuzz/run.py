"""Coverage-guided fuzzing of everything in the module that reads what others wrote.

    python tests/fuzz/run.py [--seconds N] [TARGET ...]   look for new inputs, N seconds for each target
    python tests/fuzz/run.py --replay [TARGET ...]        run the inputs that were kept, for instance under coverage

Whatever a target is fed, it has to end soon and in order, with at most an error of the module's own, in one line,
without a secret. Inputs that reach something new are kept in .fuzz_cache/TARGET; the one that ended a run lies
beside that folder. All of it goes in by public doors. No name resolves here and nothing connects: servers are
ends of pairs of sockets, and TLS is left out.
"""

from __future__ import annotations

import argparse
import ast
import errno
import io
import json
import os
import random
import re
import socket
import ssl
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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # it may be missing there: see PYTHONSAFEPATH
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
        import support.subject  # noqa: F401
from support.checking import SESSION
from support.examples import NOON, SECRET_KEY, SESSION_TOKEN, TEMPORARY, clock_at, read
from support.loopback import CA_FILE, ROLE_ARN, Sts, and_behind, head
from support.subject import iamcacheauth
from support.vector_files import FOLDER, load

KEPT = Path(__file__).resolve().parents[2] / ".fuzz_cache"
SOURCE = Path(iamcacheauth.__file__).read_text("utf-8")
LONGEST = 70_000  # bytes of an input, a little more than any reader takes
SECONDS = 1.0  # of processor time for one input
PIECE = 12  # characters of a secret that are too many
HERE = "http://localhost/"
CACHE_PORT = 6379
AUTHORIZATION = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
GUESS = "probably '[A-Za-z][A-Za-z0-9.-]*'|endpoint's '[a-z0-9]+'|zone of .*"  # what an error says of an argument
PARTS = b"\0\0"  # between the parts of an input, such as the answers of several servers

TOKEN = ["token", "elasticache", "my-iam-user", "my-cache", "--region", "us-east-1"]
CHECK = ["check", *TOKEN[1:], "--endpoint", f"localhost:{CACHE_PORT}", "--ca-file", CA_FILE]
# What it signs, as the clock stands still.
with clock_at(NOON):
    TOLD_CACHE = iamcacheauth.ElastiCacheAuth(
        "my-iam-user", "my-cache", region="us-east-1", credentials=TEMPORARY
    ).token()
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
    """No piece of a secret, which has no spaces, is in the text, unless the module or the public has it as well."""
    hidden, known = "\0".join(secrets), "\0".join(public)
    for start in range(len(text) - PIECE + 1):
        piece = text[start : start + PIECE]
        told = piece in hidden and " " not in piece and piece not in known and piece not in SOURCE
        require(not told, f"a piece of a secret: {piece!r}")


def said(call: Callable[[], object]) -> list[str]:
    """What the module's error says that the call ends with, and those behind it, as in a traceback."""
    texts = []
    try:
        call()
    except iamcacheauth.Error as error:
        require(str(error) and str(error).isprintable(), f"not one printable line: {error}")
        # less the names of the argument and the setting
        texts = [re.sub("^[A-Za-z_]+: |AWS_[A-Z_]+:", "", str(behind)) for behind in and_behind(error)]
    return texts


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
    status, stdout, stderr = printed(lambda: iamcacheauth.main(["explain"]), data)
    require(not stderr and (status == 0) == ("Nothing is wrong" in stdout), f"{status}: {stderr}")
    text = data.decode("utf-8", "replace")
    text += f"&{unquote(text)}"
    secrets = re.findall("[?&]X-Amz-Signature=([0-9a-f]+)", text)
    secrets += re.findall(r"[?&]X-Amz-Security-Token=([\w+/%-]+)", text)[-1:]
    require_silence(unquote(stdout), [unquote(form) for secret in secrets for form in (secret, unquote(secret))])


def check(data: bytes) -> None:
    """What a cache answers to AUTH and PING, and then STS, all of which know the session token and the signature."""
    with servers(*data.split(PARTS)):
        environ = {**SESSION, "AWS_ENDPOINT_URL_STS": HERE}
        _, stdout, stderr = printed(lambda: iamcacheauth.main(CHECK), environ=environ)
    require(not stderr, stderr)
    for told, output in zip((TOLD_CACHE, TOLD_STS), stdout.partition("\nidentity ")[::2]):
        secrets = [read(told)[1][name] for name in ("X-Amz-Signature", "X-Amz-Security-Token")]
        require_silence(output, [SECRET_KEY, *secrets, *(quote(secret, safe="") for secret in secrets)])


def sources(data: bytes) -> None:
    """Variables, the content of a file that they name as FILE, and what servers answer that hand out credentials."""
    variables, content, *answers = [*data.split(PARTS), b""] if PARTS in data else [data, b""]
    issued = re.compile(r"""(?<=["<])(SecretAccessKey|Token|SessionToken)("\s*:\s*"|>)([!#-;=-~]*)""")
    theirs = as_text(b"\n".join(answers))
    with tempfile.NamedTemporaryFile() as file, servers(*answers):
        file.write(content)
        file.flush()
        environ = {name: file.name if value == "FILE" else value for name, value in as_environ(variables).items()}
        for text in said(iamcacheauth.EnvironmentCredentials(environ)):
            require("asking for them raised" not in text, f"not foreseen: {text}")
            # The host that is asked is named.
            hosts = [text for name, text in environ.items() if re.search("ENDPOINT|REGION|_URI$", name)]
            web_identity = environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")
            container = any(name.startswith("AWS_CONTAINER_CREDENTIALS_") for name in environ)
            read_file = web_identity or (container and environ.get(f"{AUTHORIZATION}_FILE"))
            known = as_text(content).strip() if read_file == file.name else ""  # what nobody read, nobody knows
            require_silence(text, [known, environ.get(AUTHORIZATION, "")], hosts)
            keys = [key for *_, key in issued.findall(theirs)]
            require_silence(text, keys, [issued.sub("", theirs), *hosts])


def response(data: bytes) -> None:
    """What a web server answers that knows the authorization it was asked with."""
    environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": HERE, AUTHORIZATION: SESSION_TOKEN}
    with servers(data, data, data):
        for text in said(iamcacheauth.EnvironmentCredentials(environ)):
            require_silence(text, [SESSION_TOKEN])


def arguments(data: bytes) -> None:
    """One text as the argument of all that takes text; an error repeats of it what a cache is called, or a host."""
    argument = as_text(data)
    host = re.sub("^https?://|[/?#].*", "", argument, flags=re.IGNORECASE | re.DOTALL)
    request = {"service": "s", "region": "r", "host": "h", "params": [("a", "b")], "timestamp": "20260102T030405Z"}

    def token(service: type, user: str = "u", name: str = "n", region: str = "us-east-1") -> str:
        return service(user, name, region=region, credentials=TEMPORARY).token()

    services = (iamcacheauth.ElastiCacheAuth, iamcacheauth.MemoryDBAuth)
    environments = [
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": argument},
        {**WEB_IDENTITY, "AWS_WEB_IDENTITY_TOKEN_FILE": os.devnull, "AWS_ENDPOINT_URL_STS": argument},
        {"AWS_EC2_METADATA_SERVICE_ENDPOINT": HERE, "AWS_METADATA_SERVICE_TIMEOUT": argument},
        {"AWS_EC2_METADATA_SERVICE_ENDPOINT": HERE, "AWS_METADATA_SERVICE_NUM_ATTEMPTS": argument},
        {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": argument},
    ]
    calls = [
        *(partial(token, service, **{name: argument}) for service in services for name in ("user", "name", "region")),
        partial(iamcacheauth.for_endpoint, "u", argument, credentials=TEMPORARY),
        *(partial(iamcacheauth.presign, TEMPORARY, **{**request, name: argument}) for name in request),
        partial(iamcacheauth.presign, TEMPORARY, **{**request, "params": [(argument, argument)]}),
        partial(iamcacheauth.StaticCredentials, argument, argument, argument),
        partial(iamcacheauth.StaticCredentials, "k", "s", expiration=argument),
        *map(iamcacheauth.EnvironmentCredentials, environments),
        partial(iamcacheauth.AssumedRole, argument, credentials=TEMPORARY),
        *(partial(iamcacheauth.AssumedRole, ROLE_ARN, **{name: argument}) for name in ("session_name", "external_id")),
    ]
    for call in calls:
        with servers(head(204)):
            for text in said(call):
                require_silence(re.sub(GUESS, "", text), [argument], [host.rpartition("@")[2]])
    with servers():
        options = [*CHECK[: CHECK.index("--endpoint")], f"--endpoint={argument}"]
        _, _, stderr = printed(lambda: iamcacheauth.main(options), environ=SESSION)
        require_silence(re.sub(GUESS, "", stderr), [argument])


def command(data: bytes) -> None:
    """Arguments and variables."""
    words, _, variables = data.partition(PARTS)
    arguments, environ = as_text(words).split("\0")[:100], as_environ(variables)
    status, stdout, stderr = printed(lambda: iamcacheauth.main(arguments), environ=environ)
    secrets = [environ.pop(name, "") for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]
    if status or arguments[0] != "token":  # which would be a token, with the session token in it
        require_silence(stdout, secrets, [*arguments, *environ.values()])
    error = re.sub(f"^iamcacheauth: |usage: .*|{GUESS}", "", stderr)
    require_silence(error, [*secrets, *arguments])


TARGETS = {target.__name__: target for target in (explain, check, sources, response, arguments, command)}


@contextmanager
def servers(*answers: bytes) -> Iterator[None]:
    """Every connection is given the next answer once it has sent something, and refused when there is none left.

    A cache gives another each time, until one is not a whole line.
    """
    with ExitStack() as stack:
        waiting = list(answers[:100])
        pairs = iter([map(stack.enter_context, socket.socketpair()) for _ in waiting])

        class Connection(socket.socket):
            """One that is connected to an end of such a pair in place of a server; it says that it speaks TLS."""

            def connect(self, address: tuple[str, int]) -> None:
                if not waiting:
                    raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
                client, self.server = next(pairs)
                os.dup2(client.fileno(), self.fileno())
                self.goes_on = True
                self.is_cache = address[1] == CACHE_PORT

            def sendall(self, *arguments: Any) -> None:
                super().sendall(*arguments)
                if self.goes_on:
                    answer = waiting.pop(0) if waiting else b""
                    self.server.sendall(answer)
                    self.goes_on = self.is_cache and b"\n" in answer
                    if not self.goes_on:
                        self.server.shutdown(socket.SHUT_WR)

            def setsockopt(self, *_: object) -> None:
                pass  # a pair has no options of TCP's

            def do_handshake(self) -> None:
                pass

            def version(self) -> str:
                return "TLSv1.3"

            def getpeercert(self) -> dict[str, Any]:
                return {"notAfter": "Dec 31 23:59:59 2099 GMT", "subjectAltName": (("DNS", "localhost"),)}

        def resolve(host: str, port: int, *_: object, **__: object) -> list[object]:
            host.encode("idna")  # as looking it up would
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

        wrap = mock.patch.object(ssl.SSLContext, "wrap_socket", lambda _, connection, **__: connection)
        with wrap, mock.patch.multiple(socket, socket=Connection, getaddrinfo=resolve):
            yield


def as_text(data: bytes) -> str:
    """As Python decodes arguments and variables."""
    return data.decode("utf-8", "surrogateescape")


def as_environ(data: bytes) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition("=") for pair in as_text(data).split("\0"))}


# --- inputs to begin with, and how they change ---


def items(*words: str, **variables: str) -> bytes:
    return "\0".join([*words, *map("=".join, variables.items())]).encode()


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
REFUSAL = head(403) + b"<A><Code>ExpiredToken</Code><Message>It was: %b</Message></A>"
IDENTITY = head(200, "Date: Fri, 02 Jan 2026 12:00:00 GMT") + f"<A><Arn>{ROLE_ARN}</Arn></A>".encode()
WRONGPASS = b"-WRONGPASS invalid username-password pair\r\n"
WEB_IDENTITY = {"AWS_WEB_IDENTITY_TOKEN_FILE": "FILE", "AWS_ROLE_ARN": "r"}
LINES = [TOKEN, ["token", "memorydb", *TOKEN[2:]], [*TOKEN, "--serverless"], [*CHECK, "--timeout", "5"], ["--help"]]
SEEDS = {
    "explain": [
        [TOLD_CACHE.encode()],
        [TOLD_CACHE.replace("my-iam-user", SESSION_TOKEN[8:24]).encode()],
        [TOLD_CACHE.replace("my-cache", quote(SESSION_TOKEN[-16:], safe="")).encode()],
        *([case["token"].encode()] for path in sorted(FOLDER.glob("tokens_*.json")) for case in load(path)[::20]),
    ],
    "check": [
        [b"+OK\r\n", b"+PONG\r\n"],
        [f"-ERR unknown command 'AUTH', with args beginning with: {TOLD_CACHE} {quote(TOLD_CACHE)}\r\n".encode()],
        [WRONGPASS, IDENTITY],
        [WRONGPASS, REFUSAL % escape(TOLD_STS).encode()],
        [f"-ERR {TOLD_CACHE[-100:]}\r\n".encode()],
    ],
    "sources": [
        [items(**SESSION, AWS_CREDENTIAL_EXPIRATION=ISSUED["Expiration"])],
        [items(**WEB_IDENTITY, AWS_ENDPOINT_URL=HERE), Sts.token.encode(), XML],
        [items(**WEB_IDENTITY, AWS_ENDPOINT_URL_STS=HERE), Sts.token.encode(), REFUSAL % Sts.token.encode()],
        [items(**WEB_IDENTITY, AWS_REGION="us-gov-west-1"), b"token", head(301)],
        [items(AWS_CONTAINER_CREDENTIALS_FULL_URI=HERE, **{AUTHORIZATION: "Bearer a=/"}), b"", head(500), JSON],
        [items(AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="/v2", **{f"{AUTHORIZATION}_FILE": "FILE"}), b"token", JSON],
        [items(AWS_METADATA_SERVICE_NUM_ATTEMPTS="2"), b"", head(200) + b"token", head(200) + b"role", JSON],
        [items(AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE="ipv6", AWS_METADATA_SERVICE_TIMEOUT="2"), b""],
        [items(AWS_EC2_METADATA_DISABLED="true")],
    ],
    "response": [
        [JSON],
        [head(403) + f'{{"Code": "AccessDenied", "Message": "not with {SESSION_TOKEN}"}}'.encode()],
        [head(301, "Content-Length: 2", "Location: /") + b"{}"],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + head(200, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n"],
    ],
    "arguments": [
        [b"master.my-cache.abc123.use1.cache.amazonaws.com:6379"],
        [b"my-cache-x2e9hv.serverless.use1.cache.amazonaws.com"],
        [b"my-cache-ro.abc123.ng.0001.use1.cache.amazonaws.com"],
        [b"my-cluster-0001-001.my-cluster.abc123.memorydb.us-east-1.amazonaws.com"],
        [b"arn:aws:memorydb:us-east-1:123456789012:cluster/my-cluster"],
        [b"http://[fd00:ec2::23]/v1/credentials?a=b"],
        [b"us-gov-west-1a"],
        [b"2026-01-02T03:04:05.678+09:00"],
    ],
    "command": [[items(*line), items(**SESSION)] for line in LINES],
}


def dictionary() -> str:
    """All short texts in the module's source, in libFuzzer's form."""
    constants = [node.value for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.Constant)]
    words = {word.encode("utf-8", "replace") for word in constants if isinstance(word, str)}
    words |= {word for word in constants if isinstance(word, bytes)}
    escaped = [re.sub("..", r"\\x\g<0>", word.hex()) for word in sorted(words) if 1 < len(word) <= 40]
    return "".join(f'"{word}"\n' for word in escaped)


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


def prepare() -> None:
    sys.addaudithook(no_way_out)
    os.environ["SSL_CERT_FILE"] = CA_FILE  # the system's trust store would take longer to read than all the rest
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
    prepare()
    for name in options.targets:
        (KEPT / name).mkdir(parents=True, exist_ok=True)
        for number, parts in enumerate(SEEDS[name]):
            (KEPT / name / f"seed-{number}").write_bytes(PARTS.join(parts))
        replay(name) if options.replay else fuzz(name, options.seconds)


if __name__ == "__main__":
    main()
