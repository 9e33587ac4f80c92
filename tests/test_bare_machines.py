"""Machines that lack something: a module, file descriptors, a file that is a file, a file system.

What is missing is missing in a process of its own, which runs one of the scripts below.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.asking import FULL_URI, SHORT, SOURCES, failure
from support.callers import CALLERS
from support.loopback import CA_FILE, ROLE_ARN, Container, Imds, Sts, raw, reply
from support.subject import iamcacheauth
from support.waiting import PATIENCE, SLACK

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog")

START = f"""
import os, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
slack = {SLACK}

def without(*names):
    for name in names:
        sys.modules[name] = None  # for which the import statement raises ModuleNotFoundError

def ask(timeout=20.0, **options):
    started = time.monotonic()
    try:
        auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1",
            credentials=iamcacheauth.EnvironmentCredentials(timeout=timeout, **options))
        if "asyncio" in sys.argv:
            import asyncio

            token = asyncio.run(auth.token_async())
        else:
            token = auth.token()
        print("token" if "X-Amz-Security-Token=" in token else token)
    except iamcacheauth.CredentialsError as error:
        print(f"CredentialsError: {{error}}")
    if time.monotonic() - started > timeout * 1.25 + slack:
        print("too late")
"""


def run(script, environ, *arguments):
    """What a script prints that is all that a new process does."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-c", START + script, *arguments],
        env={**variables, "AWS_EC2_METADATA_DISABLED": "true", **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# --- modules ---

WITHOUT_TLS = """
without("_ssl")
from support.subject import iamcacheauth
ask()
"""
SIDES = pytest.mark.parametrize("side", ["threads", "asyncio"])


@pytest.mark.parametrize("kind", [Container, Imds])
def test_metadata_needs_no_tls(kind):
    """With attempts and reasons as everywhere else."""
    with kind() as server:
        environ = {**server.environ, "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "3", "AWS_EC2_METADATA_DISABLED": ""}
        server.faults["credentials"] = iter([reply(429), raw(b"")])
        assert run(WITHOUT_TLS, environ) == ["token"]
        server.faults["credentials"] = itertools.repeat(reply(403, "not for you"))
        (line,) = run(WITHOUT_TLS, environ)
        assert line.startswith(f"CredentialsError: {SOURCES[kind]}")
        assert line.endswith("HTTP status 403, not for you")
        server.faults = {"connection": itertools.repeat(raw(b""))}
        (line,) = run(WITHOUT_TLS, environ)
        assert line.startswith(f"CredentialsError: {SOURCES[kind]}{server.url.partition('//')[2]}: ")
        assert "closed" in line
    (line,) = run(WITHOUT_TLS, environ)  # nobody is there any more
    assert line.startswith(f"CredentialsError: {SOURCES[kind]}")
    assert "refused" in line


def test_sts_needs_tls(sts):
    (line,) = run(WITHOUT_TLS, sts.environ)
    assert line.startswith(f"CredentialsError: {SOURCES[Sts]}")
    assert "ssl" in line
    assert sts.requests == []


def test_plain_sts_needs_no_tls():
    with Sts(plain=True) as sts:
        assert run(WITHOUT_TLS, sts.environ) == ["token"]


NEEDED = {
    "json": Container,
    "http.client": Container,
    "socket": Container,
    "urllib.parse": Container,
    "html": Sts,
    "encodings.idna": Container,  # for the names of hosts
}


@SIDES
@pytest.mark.parametrize(("module", "kind"), NEEDED.items(), ids=NEEDED)
def test_a_module_that_is_missing_is_named(module, kind, side):
    """As on a Python that was cut down to size."""
    if side == "asyncio" and module == "socket":
        pytest.skip("asyncio itself needs it")
    script = f"""
from support.subject import iamcacheauth
import asyncio
without({module!r})
ask()
"""
    with kind() as server:
        (line,) = run(script, server.environ, side)
    assert line.startswith("CredentialsError: ")
    assert module.rpartition("encodings.")[2] in line
    assert SOURCES[kind].split(" (")[0] in line


# --- file descriptors ---

EXHAUSTED = """
import asyncio, resource
from support.subject import iamcacheauth

asked = []
def exhaust():
    try:
        while True:
            asked.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
loop = asyncio.new_event_loop()
credentials = iamcacheauth.EnvironmentCredentials(timeout=5.0)
auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=credentials)

def ask(timeout=5.0):
    started = time.monotonic()
    try:
        token = loop.run_until_complete(auth.token_async()) if "asyncio" in sys.argv else auth.token()
        print("token" if "X-Amz-Security-Token=" in token else token)
    except iamcacheauth.CredentialsError as error:
        print(f"CredentialsError: {error}")
    if time.monotonic() - started > timeout * 1.25 + slack:
        print("too late")

exhaust()
ask()
for descriptor in asked:
    os.close(descriptor)
ask()
loop.close()
"""


@SIDES
def test_no_file_descriptors(server, side):
    """An error that says so, and a token once there are some again."""
    pytest.importorskip("resource")
    first, second = run(EXHAUSTED, {**server.environ, "AWS_EC2_METADATA_DISABLED": ""}, side)
    assert first.startswith("CredentialsError: ")
    assert "open files" in first
    assert second == "token"


# --- files that are none ---

FILES = {
    "AWS_WEB_IDENTITY_TOKEN_FILE": {"AWS_ROLE_ARN": ROLE_ARN, "AWS_REGION": "us-east-1"},
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": {FULL_URI: "http://127.0.0.1:1/"},
}
needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


@needs_fifo
@pytest.mark.parametrize("kind", CALLERS)
@pytest.mark.parametrize(("variable", "environ"), FILES.items(), ids=FILES)
def test_a_token_file_that_nobody_writes_to(tmp_path, kind, variable, environ):
    """Opening it waits for a writer, for ever; nobody else does."""
    os.mkfifo(tmp_path / "token")
    assert_in_time(kind, {**environ, variable: str(tmp_path / "token")}, variable)
    release(tmp_path / "token")


@needs_fifo
@pytest.mark.parametrize("kind", CALLERS)
def test_a_bundle_that_nobody_writes_to(tmp_path, sts, kind):
    os.mkfifo(tmp_path / "bundle")
    assert_in_time(kind, {**sts.environ, "AWS_CA_BUNDLE": str(tmp_path / "bundle")}, "web identity")
    release(tmp_path / "bundle")


def assert_in_time(kind, environ, named):
    credentials = iamcacheauth.EnvironmentCredentials(environ, timeout=SHORT)
    auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=credentials)
    started = time.monotonic()
    outcomes = CALLERS[kind](auth)
    assert time.monotonic() - started < SHORT * 1.25 + SLACK
    for outcome in outcomes:
        assert named in outcome.error or "container credentials" in outcome.error
        assert outcome.error.isprintable()


def release(fifo):
    """Let go whoever still waits for a writer, so that nothing is left of this test."""
    with open(os.open(fifo, os.O_RDWR | os.O_NONBLOCK), "wb"):
        time.sleep(0)


@pytest.mark.parametrize(("variable", "environ"), FILES.items(), ids=FILES)
def test_a_directory_as_a_token_file(tmp_path, variable, environ):
    message = failure({**environ, variable: str(tmp_path)}, secrets=[str(tmp_path)])
    assert variable in message
    assert "directory" in message


def test_a_directory_as_a_bundle(tmp_path, sts):
    message = failure({**sts.environ, "AWS_CA_BUNDLE": str(tmp_path)})
    assert message.startswith(f"{SOURCES[Sts]}AWS_CA_BUNDLE: ")
    assert sts.requests == []


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs /dev/zero")
@pytest.mark.parametrize(("variable", "environ"), FILES.items(), ids=FILES)
def test_a_token_file_without_an_end(variable, environ):
    assert variable in failure({**environ, variable: "/dev/zero"})


# --- chroot ---

CHROOT = """
import asyncio, threading
from support.subject import iamcacheauth

made_before = iamcacheauth.EnvironmentCredentials(timeout=20.0)
os.chroot(sys.argv[2])
os.chdir("/")
for make in (lambda: made_before, lambda: iamcacheauth.EnvironmentCredentials(timeout=20.0)):
    try:
        auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=make())
        token = asyncio.run(auth.token_async()) if "asyncio" in sys.argv else auth.token()
        print("token" if "X-Amz-Security-Token=" in token else token)
    except iamcacheauth.CredentialsError as error:
        print(f"CredentialsError: {error}")
for thread in threading.enumerate():
    if thread.daemon:  # one that Python ends, it ends with a library that is not there
        thread.join(20)
"""


@SIDES
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_chroot_after_import(server, side, tmp_path):
    """What was made before works on; what is made afterwards works, or says what it misses."""
    environ = {**server.environ, "AWS_EC2_METADATA_DISABLED": ""}
    if isinstance(server, Sts):
        (tmp_path / "token").write_text(server.token)
        (tmp_path / "ca.pem").write_text(Path(CA_FILE).read_text())
        environ.update(AWS_WEB_IDENTITY_TOKEN_FILE="/token", AWS_CA_BUNDLE="/ca.pem")
    first, second = run(CHROOT, environ, side, str(tmp_path))
    assert first == "token"
    assert second == "token" or second.startswith("CredentialsError: ")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_chroot_without_the_files_that_are_needed(sts, tmp_path):
    for line in run(CHROOT, sts.environ, "threads", str(tmp_path)):
        assert line.startswith(f"CredentialsError: {SOURCES[Sts]}AWS_WEB_IDENTITY_TOKEN_FILE: ")
    (tmp_path / "token").write_text(sts.token)
    environ = {name: value for name, value in sts.environ.items() if name != "AWS_CA_BUNDLE"}
    for line in run(CHROOT, {**environ, "AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}, "threads", str(tmp_path)):
        assert line.startswith(f"CredentialsError: {SOURCES[Sts]}")
        assert "certificate" in line


# --- threads ---

WITHOUT_THREADS = """
import threading
from support.subject import iamcacheauth

def refuse(*_, **__):
    raise RuntimeError("can't start new thread")

threading.Thread.start = refuse
ask()
"""


@SIDES
def test_no_thread_can_be_started(server, side):
    """At a limit of the system's: whoever asks then fetches without one."""
    assert run(WITHOUT_THREADS, {**server.environ, "AWS_EC2_METADATA_DISABLED": ""}, side) == ["token"]
    server.faults["credentials"] = itertools.repeat(reply(403, "not for you"))
    (line,) = run(WITHOUT_THREADS, {**server.environ, "AWS_EC2_METADATA_DISABLED": ""}, side)
    assert line.endswith("HTTP status 403, not for you")
