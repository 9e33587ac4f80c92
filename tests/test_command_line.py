"""The token command, as a process of its own and through main()."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import NOON, TEMPORARY, clock_at, read
from support.subject import iamcacheauth

pytestmark = pytest.mark.commands

KEYS = {
    "AWS_ACCESS_KEY_ID": TEMPORARY.access_key,
    "AWS_SECRET_ACCESS_KEY": TEMPORARY.secret_key,
    "AWS_SESSION_TOKEN": TEMPORARY.token,
}
ELASTICACHE = ["token", "elasticache", "iam-user", "my-cache", "--region", "eu-west-1"]
COMMANDS = {
    "replication group": (ELASTICACHE, iamcacheauth.ElastiCacheAuth, {}),
    "serverless": ([*ELASTICACHE, "--serverless"], iamcacheauth.ElastiCacheAuth, {"serverless": True}),
    "MemoryDB": (["token", "memorydb", *ELASTICACHE[2:]], iamcacheauth.MemoryDBAuth, {}),
}
every_command = pytest.mark.parametrize(("arguments", "service", "options"), COMMANDS.values(), ids=COMMANDS.keys())
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
TOKEN = "my-cache/?Action=connect&User=iam-user&X-Amz-Credential=AKIA%2F20260102&X-Amz-Signature=c0ffee"


@pytest.fixture
def keys(monkeypatch):
    for variable, value in KEYS.items():
        monkeypatch.setenv(variable, value)


def command(*arguments, flags=("-I", "-S")):
    return [sys.executable, *flags, iamcacheauth.__file__, *arguments]


def environment(**variables):
    """This process's, less what would change the interpreter, and these variables."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}, **variables}


def run(*arguments, flags=("-I", "-S"), **variables):
    return subprocess.run(
        command(*arguments, flags=flags), env=environment(**variables), capture_output=True, timeout=60
    )


def assert_one_line(stderr):
    assert stderr.startswith("iamcacheauth: ")
    assert stderr.endswith("\n")
    assert stderr[:-1].isprintable()
    assert "Traceback" not in stderr


def refusal(capsys, arguments, status):
    """What main() says on stderr, in one line; nothing on stdout."""
    assert iamcacheauth.main(arguments) == status
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert_one_line(stderr)
    return stderr


@every_command
@pytest.mark.parametrize("flags", [["-I", "-S"], ["-O"], ["-W", "error", "-X", "dev", "-bb"]], ids=" ".join)
def test_prints_a_token_and_nothing_else(arguments, service, options, flags):
    process = run(*arguments, flags=flags, **KEYS)
    assert (process.returncode, process.stderr) == (0, b"")
    token = process.stdout.decode("ascii").rstrip("\r\n")
    host, params = read(token)
    resource_type = [("ResourceType", "ServerlessCache")] if options else []
    assert token == iamcacheauth.presign(
        TEMPORARY,
        service=service("u", "n", region="us-east-1", credentials=TEMPORARY).service,
        region="eu-west-1",
        host=host,
        params=[("Action", "connect"), ("User", "iam-user"), *resource_type],
        timestamp=params["X-Amz-Date"],
    )


@every_command
def test_main_prints_what_the_library_signs(capsys, keys, arguments, service, options):
    with clock_at(NOON):
        assert iamcacheauth.main(arguments) == 0
        auth = service("iam-user", "my-cache", region="eu-west-1", credentials=TEMPORARY, **options)
        assert capsys.readouterr() == (f"{auth.token()}\n", "")


def test_main_reads_the_processes_arguments(capsys, monkeypatch, keys):
    monkeypatch.setattr(sys, "argv", ["iamcacheauth", *ELASTICACHE])
    assert iamcacheauth.main() == 0
    assert read(capsys.readouterr().out)[0] == "my-cache"


def test_the_region_may_come_from_the_environment(capsys, monkeypatch, keys):
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert iamcacheauth.main(ELASTICACHE[:4]) == 0
    assert "/eu-west-3/" in read(capsys.readouterr().out)[1]["X-Amz-Credential"]


SERVICES = """
positional arguments:
  SERVICE
    elasticache  for ElastiCache
    memorydb     for MemoryDB
options:
  -h, --help     show this help message and exit
"""
OF_ELASTICACHE = """
positional arguments:
  USER                    user id
  CACHE                   replication group id or serverless cache's name
options:
  -h, --help              show this help message and exit
  --serverless            for ElastiCache Serverless
  --region REGION         such as us-east-1
"""
OF_MEMORYDB = """
positional arguments:
  USER                    user name
  CLUSTER                 cluster's name
options:
  -h, --help              show this help message and exit
  --region REGION         such as us-east-1
"""
OF_CHECK = """
  --endpoint HOST[:PORT]  the port is 6379 unless given
  --ca-file FILE          certificates to trust instead of the system's, PEM
  --timeout SECONDS       limit of each step (5)
"""
HELP = {
    "": """[-h] [--version] COMMAND ...
Log in to Amazon ElastiCache and MemoryDB with IAM instead of a password.
positional arguments:
  COMMAND
    token     print a new token
    explain   say what is in a token and what is wrong with it
    check     log in to a cache, and say why if that fails
options:
  -h, --help  show this help message and exit
  --version   show program's version number and exit
Credentials and, without --region, the region come from the AWS_ variables of the environment.""",
    "token": f"[-h] SERVICE ... {SERVICES}",
    "token elasticache": f"[-h] [--serverless] [--region REGION] USER CACHE {OF_ELASTICACHE}",
    "token memorydb": f"[-h] [--region REGION] USER CLUSTER {OF_MEMORYDB}",
    "explain": "[-h] options: -h, --help show this help message and exit",
    "check": f"[-h] SERVICE ... {SERVICES}",
    "check elasticache": f"""[-h] [--serverless] [--region REGION]
--endpoint HOST[:PORT] [--ca-file FILE] [--timeout SECONDS] USER CACHE {OF_ELASTICACHE} {OF_CHECK}""",
    "check memorydb": f"""[-h] [--region REGION]
--endpoint HOST[:PORT] [--ca-file FILE] [--timeout SECONDS] USER CLUSTER {OF_MEMORYDB} {OF_CHECK}""",
}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["sing"], "usage"),
        (["token"], "SERVICE"),
        (["token", "redis"], "iamcacheauth: usage: iamcacheauth token [-h] SERVICE ...\n"),
        (["token", "elasticache"], "USER, CACHE"),
        (["token", "memorydb", "iam-user"], "CLUSTER"),
        ([*ELASTICACHE, "more"], "usage"),
        ([*ELASTICACHE, "a\nb"], "usage"),
        ([*ELASTICACHE, "--region"], "--region"),
        ([*ELASTICACHE, "--serverless=yes"], "usage"),
        ([*ELASTICACHE, "--server"], "usage"),
        *(([*command.split(), "--hel"], "usage") for command in HELP),
        (["token", "memorydb", *ELASTICACHE[2:], "--serverless"], "usage"),
        ([*ELASTICACHE[:4]], "AWS_REGION"),
        ([*ELASTICACHE[:4], "--region", ""], "region: "),
        ([*ELASTICACHE[:4], "--region", "eu-west-1a"], "availability zone"),
        (["token", "elasticache", "", "my-cache"], "user: "),
        (["token", "elasticache", "iam\nuser", "my-cache"], "user: "),
        (["token", "elasticache", "iam-user", ""], "cache: "),
        (["token", "memorydb", "iam-user", "my_cluster"], "cluster: "),
        (["token", "memorydb", "iam-user", "clustercfg.my-name.x.memorydb.eu-west-1.amazonaws.com:6379"], "'my-name'"),
    ],
)
def test_wrong_usage(capsys, keys, arguments, says):
    assert says in refusal(capsys, arguments, 2)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "AKIA"}, "AWS_SECRET_ACCESS_KEY is not set"),
        ({**KEYS, "AWS_SECRET_ACCESS_KEY": "a\nb"}, "AWS_SECRET_ACCESS_KEY: "),
        ({**KEYS, "AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"}, "2020-01-01T00:00:00Z"),
    ],
)
def test_no_credentials(capsys, monkeypatch, variables, says):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert says in refusal(capsys, ELASTICACHE, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        [TOKEN],
        ["token", TOKEN],
        ["explain", TOKEN],
        ["token", "elasticache", "iam-user", TOKEN],
        [*ELASTICACHE, TOKEN],
        [*ELASTICACHE, f"--serverless={TOKEN}"],
        [*ELASTICACHE, f"--password={TOKEN}"],
        [*ELASTICACHE[:4], "--region", TOKEN],
        [*ELASTICACHE, f"{TOKEN}\n: expected one argument"],
    ],
)
def test_a_pasted_token_is_not_repeated(capsys, keys, arguments):
    stderr = refusal(capsys, arguments, 2)
    assert "Signature" not in stderr
    assert "c0ffee" not in stderr


@pytest.mark.parametrize(("command", "expected"), HELP.items())
def test_help(capsys, monkeypatch, command, expected):
    """All of it but the layout, which differs between versions of Python."""
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("NO_COLOR", "1")
    assert iamcacheauth.main([*command.split(), "--help"]) == 0
    stdout, stderr = capsys.readouterr()
    shown = stdout.replace("optional arguments:", "options:").split()  # what 3.9 calls them
    assert shown == f"usage: iamcacheauth {command} {expected}".split()
    assert stderr == ""


def test_version(capsys):
    assert iamcacheauth.main(["--version"]) == 0
    assert capsys.readouterr() == (f"iamcacheauth {iamcacheauth.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "variables", "status"),
    [
        pytest.param(ELASTICACHE, {}, 1, id="credentials"),
        pytest.param(["token", "elasticache"], KEYS, 2, id="usage"),
        pytest.param([b"token", b"memorydb", b"\xff", b"c"], KEYS, 2, id="undecodable", marks=posix),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_errors_of_a_process(arguments, variables, status, encoding):
    process = run(*arguments, flags=[], PYTHONIOENCODING=encoding, **variables)
    assert (process.returncode, process.stdout) == (status, b"")
    assert_one_line(process.stderr.decode(encoding).replace("\r\n", "\n"))


def test_a_user_that_cannot_be_one_is_not_repeated():
    """It may be a password, or a key."""
    arguments = ["token", "memorydb", "hünter2", "my-cluster", "--region", "eu-west-1"]
    process = run(*arguments, flags=["-X", "utf8"], PYTHONIOENCODING="ascii", **KEYS)
    assert (process.returncode, process.stdout) == (2, b"")
    assert process.stderr == (
        b"iamcacheauth: user: the id of a user is wanted, letters, digits and hyphens, starting with a letter, like"
        b" 'my-iam-user'\n"
    )


def shell(redirection, arguments=ELASTICACHE):
    """Run it with a stream closed or redirected, which only a shell can do."""
    wrapped = ["sh", "-c", f'exec "$0" "$@" {redirection}', *command(*arguments)]
    return subprocess.run(wrapped, env=environment(**KEYS), capture_output=True, timeout=60)


@posix
@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_a_token_that_cannot_be_written_is_an_error(redirection):
    if redirection.endswith("full") and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    process = shell(redirection)
    assert process.returncode == 1
    assert_one_line(process.stderr.decode())


@posix
def test_nobody_reads_the_token():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = subprocess.run(
            command(*ELASTICACHE), stdout=writing, stderr=subprocess.PIPE, env=environment(**KEYS), timeout=60
        )
    finally:
        os.close(writing)
    assert process.returncode == 1
    assert_one_line(process.stderr.decode())


@posix
def test_without_stderr_an_error_does_not_end_up_in_stdout():
    process = shell("2>&-", ["token", "elasticache", "iam-user", "my_cache"])
    assert (process.returncode, process.stdout, process.stderr) == (2, b"", b"")


@posix
def test_interrupted_while_waiting_for_credentials(monkeypatch):
    # A test run in the background of a shell ignores the signal, and so would the process.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        port = server.getsockname()[1]
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{port}/")
        try:
            process = subprocess.Popen(command(*ELASTICACHE), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        finally:
            signal.signal(signal.SIGINT, before)
        with process, server.accept()[0] as connection:
            connection.recv(1)  # it has asked, and waits
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 130


@pytest.mark.parametrize("stream", [lambda: None, io.StringIO], ids=["none", "text"])
def test_main_reports_an_error_where_it_can(monkeypatch, stream):
    stderr = stream()
    monkeypatch.setattr(sys, "stderr", stderr)
    assert iamcacheauth.main(["token"]) == 2
    assert stderr is None or stderr.getvalue().count("\n") == 1


class FullDisk(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("stdout", "says"), [(None, ": standard output is closed\n"), (FullDisk(), "No space left")])
def test_main_fails_if_its_output_goes_nowhere(capsys, keys, monkeypatch, stdout, says):
    monkeypatch.setattr(sys, "stdout", stdout)
    assert iamcacheauth.main(list(ELASTICACHE)) == 1
    assert says in capsys.readouterr().err
    assert sys.stdout is None  # so that the interpreter leaves it alone when it exits


@given(st.text(min_size=4), st.integers(0, 5))
def test_no_secret_shows_in_a_refusal(secret, place):
    arguments = ["token", "elasticache", "u", "c!", "--region", "us-east-1"]
    arguments[place] = f"{secret}hunter2{secret}\n"
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        assert iamcacheauth.main(arguments) == 2
    assert "hunter2" not in output.getvalue().lower()
