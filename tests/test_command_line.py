"""The token command, as a process of its own and through main()."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import NOON, TEMPORARY, clock_at, read
from support.subject import iamcacheauth
from support.waiting import wait_until

pytestmark = pytest.mark.commands

KEYS = {
    "AWS_ACCESS_KEY_ID": TEMPORARY.access_key,
    "AWS_SECRET_ACCESS_KEY": TEMPORARY.secret_key,
    "AWS_SESSION_TOKEN": TEMPORARY.token,
}
SECRET = "AWS_SECRET_ACCESS_KEY"
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
    endpoint     for either, by the host name that AWS shows
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
"""
OF_MEMORYDB = """
positional arguments:
  USER                    user name
  CLUSTER                 cluster's name
options:
  -h, --help              show this help message and exit
"""
OF_ENDPOINT = """
positional arguments:
  USER                    user id or user name
  HOST[:PORT]             host name as AWS shows it; the port is 6379 unless given
options:
  -h, --help              show this help message and exit
"""
OF_BOTH = """
  --region REGION         such as us-east-1
  --role-arn ARN          role to assume first, such as one of the cache's account
  --external-id ID        what the role's trust policy demands
"""
OF_TOKEN = f"""{OF_BOTH}
  --file PATH             write the token there instead, as a whole, readable for the owner only
  --every SECONDS         write a new one so often, until ended; less than 900
"""
OF_ITS_ENDPOINT = "--endpoint HOST[:PORT]  the port is 6379 unless given"
OF_CHECK = """
  --server-name NAME      the cache's own host name, where the endpoint is a tunnel to it
  --ca-file FILE          certificates to trust instead of the system's, PEM
  --timeout SECONDS       limit of each step (5)
"""
USAGE_OF_BOTH = "[--region REGION] [--role-arn ARN] [--external-id ID]"
USAGE_OF_TOKEN = f"{USAGE_OF_BOTH} [--file PATH] [--every SECONDS]"
USAGE_OF_CHECK = "[--server-name NAME] [--ca-file FILE] [--timeout SECONDS]"
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
    "token elasticache": f"[-h] [--serverless] {USAGE_OF_TOKEN} USER CACHE {OF_ELASTICACHE} {OF_TOKEN}",
    "token memorydb": f"[-h] {USAGE_OF_TOKEN} USER CLUSTER {OF_MEMORYDB} {OF_TOKEN}",
    "token endpoint": f"[-h] {USAGE_OF_TOKEN} USER HOST[:PORT] {OF_ENDPOINT} {OF_TOKEN}",
    "explain": "[-h] options: -h, --help show this help message and exit",
    "check": f"[-h] SERVICE ... {SERVICES}",
    "check elasticache": f"""[-h] [--serverless] {USAGE_OF_BOTH} --endpoint HOST[:PORT] {USAGE_OF_CHECK}
USER CACHE {OF_ELASTICACHE} {OF_BOTH} {OF_ITS_ENDPOINT} {OF_CHECK}""",
    "check memorydb": f"""[-h] {USAGE_OF_BOTH} --endpoint HOST[:PORT] {USAGE_OF_CHECK}
USER CLUSTER {OF_MEMORYDB} {OF_BOTH} {OF_ITS_ENDPOINT} {OF_CHECK}""",
    "check endpoint": f"[-h] {USAGE_OF_BOTH} {USAGE_OF_CHECK} USER HOST[:PORT] {OF_ENDPOINT} {OF_BOTH} {OF_CHECK}",
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


# --- a token in a file ---


@every_command
def test_a_token_in_a_file(tmp_path, capsys, keys, arguments, service, options):
    """What another program has open stays whole, and nothing else is left in the folder."""
    file = tmp_path / "token"
    file.write_text("old")
    file.chmod(0o644)
    with file.open() as reader, clock_at(NOON):
        assert iamcacheauth.main([*arguments, "--file", str(file)]) == 0
        auth = service("iam-user", "my-cache", region="eu-west-1", credentials=TEMPORARY, **options)
        assert file.read_text() == auth.token()  # without a line break, which is no part of a password
        assert reader.read() == "old"
    assert capsys.readouterr() == ("", "")
    assert os.listdir(tmp_path) == ["token"]
    assert os.name != "posix" or file.stat().st_mode & 0o777 == 0o600


def test_a_token_out_of_the_host_name(capsys, keys):
    endpoint = "my-cache-x2e9hv.serverless.euw1.cache.amazonaws.com:6379"
    with clock_at(NOON):
        assert iamcacheauth.main(["token", "endpoint", "iam-user", endpoint]) == 0
        auth = iamcacheauth.for_endpoint("iam-user", endpoint, credentials=TEMPORARY)
        assert capsys.readouterr() == (f"{auth.token()}\n", "")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (f"nowhere/{TOKEN}", os.strerror(errno.ENOENT)),
        ("folder", os.strerror(errno.EISDIR)),
        ("a\0b", "no file has such a name"),
    ],
)
def test_a_file_that_cannot_be_written(tmp_path, capsys, monkeypatch, keys, path, reason):
    """By mistake, the path may be a token."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("folder")
    stderr = refusal(capsys, [*ELASTICACHE, "--file", path], 1)
    assert stderr == f"iamcacheauth: --file: it cannot be written: {reason}\n"
    assert "c0ffee" not in stderr
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize(
    "options",
    [["--every", "60"], *(["--file", "token", "--every", every] for every in ("0", "-1", "900", "nan", "inf"))],
)
def test_how_often(capsys, keys, options):
    expected = "iamcacheauth: --every: less than the 900 seconds of a token are wanted, with --file\n"
    assert refusal(capsys, [*ELASTICACHE, *options], 2) == expected


def test_an_external_id_without_a_role(capsys, keys):
    expected = "iamcacheauth: --external-id: it belongs to --role-arn, which is not given\n"
    assert refusal(capsys, [*ELASTICACHE, "--external-id", "ours"], 2) == expected


def keep_written(monkeypatch, file, *happenings, every="600"):
    """Let what happens happen instead of each pause, and then SIGTERM; return the pauses."""
    pauses, left = [], iter(happenings)

    def sleep(seconds):
        pauses.append(seconds)
        next(left, lambda: signal.raise_signal(signal.SIGTERM))()

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(time, "sleep", sleep)
    assert iamcacheauth.main([*ELASTICACHE, "--file", str(file), "--every", every]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    return pauses


def test_it_is_written_again(tmp_path, capsys, monkeypatch, keys):
    file = tmp_path / "token"
    assert keep_written(monkeypatch, file, file.unlink, lambda: None) == [600.0] * 3
    assert read(file.read_text())[0] == "my-cache"
    assert os.listdir(tmp_path) == ["token"]
    assert capsys.readouterr() == ("", "")


def test_a_failed_renewal_is_tried_again_soon(tmp_path, capsys, monkeypatch, keys):
    """What was written stays, whoever reads it."""
    file = tmp_path / "token"
    lose, find = (lambda: monkeypatch.delenv(SECRET)), (lambda: monkeypatch.setenv(SECRET, KEYS[SECRET]))
    written = []
    note = lambda: written.append(file.read_text())
    assert keep_written(monkeypatch, file, lose, note, find) == [600.0, 10.0, 10.0, 600.0]
    assert read(written[0])[0] == "my-cache"
    says = f"iamcacheauth: static keys: {SECRET} is not set, but the other one of the two keys is\n"
    assert capsys.readouterr() == ("", 2 * says)


@pytest.mark.parametrize(("every", "soon"), [("600", 10.0), ("2.5", 2.5)])
def test_credentials_that_do_not_live_until_the_next_time(tmp_path, monkeypatch, keys, every, soon):
    """A renewal is under way: it is looked for again soon."""

    def expire_after(seconds):
        monkeypatch.setenv(
            "AWS_CREDENTIAL_EXPIRATION", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOON + seconds))
        )

    with clock_at(NOON):
        expire_after(float(every) - 1)
        pauses = keep_written(monkeypatch, tmp_path / "token", lambda: expire_after(3600), every=every)
    assert pauses == [soon, float(every)]


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_writes_until_it_is_ended(tmp_path, number):
    file = tmp_path / "token"
    arguments = command(*ELASTICACHE, "--file", str(file), "--every", "0.01")
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**KEYS)
    ) as process:
        wait_until(file.exists)
        first = file.stat().st_ino, file.stat().st_mtime_ns
        wait_until(lambda: (file.stat().st_ino, file.stat().st_mtime_ns) != first)
        process.send_signal(number)
        assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 0
    assert os.listdir(tmp_path) == ["token"]
    assert read(file.read_text())[0] == "my-cache"


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
