"""What importing the module and signing with keys at hand pull in, in an interpreter without site packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from support.examples import ACCESS_KEY, SECRET_KEY
from support.subject import iamcacheauth

# None of the allowed modules pulls in any of these; a Python in which one does would be worth knowing about.
EXPENSIVE = {
    *("typing", "threading", "http", "asyncio", "argparse", "json", "socket", "ssl", "datetime", "urllib"),
    *("dataclasses", "re", "logging", "concurrent", "enum", "random", "subprocess", "xml", "ipaddress"),
}
IMPORT = f"""
import sys
sys.path.insert(0, {os.path.dirname(iamcacheauth.__file__)!r})
import iamcacheauth
"""
STATIC = f"credentials = iamcacheauth.StaticCredentials({ACCESS_KEY!r}, {SECRET_KEY!r})"
ENVIRONMENT = f"""
import os
os.environ.update(AWS_ACCESS_KEY_ID={ACCESS_KEY!r}, AWS_SECRET_ACCESS_KEY={SECRET_KEY!r}, AWS_SESSION_TOKEN="x")
credentials = None
"""
OBJECT = f"""
class Keys:
    access_key, secret_key, token = {ACCESS_KEY!r}, {SECRET_KEY!r}, None
credentials = Keys()
"""
SIGN = """
for auth in (
    iamcacheauth.ElastiCacheAuth("u", "c", region="us-east-1", serverless=True, credentials=credentials),
    iamcacheauth.MemoryDBAuth("u", "c", region="us-east-1", credentials=credentials),
):
    repr(auth)
    auth.token()
    auth.get_credentials()
    for coroutine in (auth.token_async(), auth.get_credentials_async()):
        try:
            coroutine.send(None)
        except StopIteration:
            continue
        raise SystemExit("signing with keys at hand waited for something")
"""


def output_of(code):
    """What an isolated interpreter prints when it runs ``code``."""
    process = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def modules_after(code):
    """The names in sys.modules once an isolated interpreter has run ``code``."""
    code += "\nimport sys\nloaded = sorted(sys.modules)\nimport json\nprint(json.dumps(loaded))"
    return set(json.loads(output_of(code)))


@pytest.fixture(scope="module")
def allowed():
    return modules_after("import __future__, hashlib, hmac, os, sys, time")


def test_importing(allowed):
    imported = modules_after(IMPORT)
    assert imported - allowed == {"iamcacheauth"}
    assert imported.isdisjoint(EXPENSIVE) or sys.implementation.name == "pypy"  # whose own hashlib imports some


@pytest.mark.parametrize(
    "credentials", [STATIC, ENVIRONMENT, OBJECT], ids=["static", "environment variables", "any object"]
)
def test_signing_with_keys_at_hand(allowed, credentials):
    assert modules_after(IMPORT + credentials + SIGN) - allowed == {"iamcacheauth"}


def test_a_python_without_openssl_signs_the_same():
    """One that was built without it has no _hashlib; hashlib and hmac then calculate on their own."""
    sign = f"""
print(iamcacheauth.presign(
    iamcacheauth.StaticCredentials({ACCESS_KEY!r}, {SECRET_KEY!r}), service="elasticache", region="us-east-1",
    host="my-cache", params=[("Action", "connect"), ("User", "u")], timestamp="20260102T030405Z",
))
"""
    without_openssl = "import logging\nlogging.disable()\nimport sys\nsys.modules['_hashlib'] = None"
    assert output_of(without_openssl + IMPORT + sign) == output_of(IMPORT + sign)
