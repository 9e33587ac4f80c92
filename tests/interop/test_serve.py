"""The gate by itself, as the README has it: what it prints is enough to log in, and it says why it refuses."""

import contextlib
import pathlib
import re
import shlex
import signal
import subprocess
import sys

import pytest
import redis
from support.subject import iamcacheauth

SERVE = pathlib.Path(__file__).with_name("serve.py")


@contextlib.contextmanager
def served(*options):
    """The process, and what it printed about itself."""
    command = [sys.executable, "-u", SERVE, *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, list(iter(process.stdout.readline, "\n"))
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()
    assert process.returncode == 0


def named(lines):
    return dict(re.findall(r"^(\S+|CA file)  +(.*)$", "".join(lines), re.MULTILINE))


def client(lines, client_class=redis.Redis, serverless=False, **changes):
    """A client that is made of nothing but the lines; those with keys are for a shell."""
    said, keys = named(lines), dict(word.split("=", 1) for word in shlex.split(lines[-1])[1:])
    credentials = iamcacheauth.StaticCredentials(
        keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], keys["AWS_SESSION_TOKEN"]
    )
    name = said["cache"].partition(" ")[0]
    if "memorydb" in said["cache"]:
        auth = iamcacheauth.MemoryDBAuth(said["user"], name, region=said["region"], credentials=credentials)
    else:
        settings = {"region": said["region"], "serverless": serverless, "credentials": credentials, **changes}
        auth = iamcacheauth.ElastiCacheAuth(said["user"], name, **settings)
    port = int(said["port"].partition(",")[0])
    address = {"host": said["host"], "port": port, "ssl": True, "ssl_ca_certs": said["CA file"]}
    return contextlib.closing(client_class(**address, credential_provider=auth))


@pytest.mark.parametrize("option", ["", "--memorydb", "--serverless", "--cluster"])
def test_what_it_prints_is_enough_to_log_in(option):
    client_class = redis.Redis if option == "" else redis.RedisCluster
    with served(*option.split()) as (process, lines):
        with client(lines, client_class, serverless=option == "--serverless") as cache:
            assert cache.set("key", "value")
        assert process.stdout.readline() == "login    my-iam-user\n"


def test_it_says_why_it_refuses():
    with served() as (process, lines):
        with client(lines, region="us-west-2") as cache, pytest.raises(redis.AuthenticationError):
            cache.ping()
        assert re.match(r"refused  my-iam-user: scope \(.*us-west-2.*us-east-1.*\)$", process.stdout.readline())


def test_enter_cuts_all_connections():
    with served() as (process, lines), client(lines) as cache:
        cache.ping()
        process.stdin.write("\n")
        process.stdin.flush()
        assert [process.stdout.readline() for _ in range(2)] == ["login    my-iam-user\n", "cut\n"]
        assert cache.ping()


def test_another_name_in_its_certificate():
    with (
        served("--other-name") as (_, lines),
        client(lines) as cache,
        pytest.raises(redis.ConnectionError, match="certificate"),
    ):
        cache.ping()
