"""What several test files use: AWS's published example keys, a fixed clock, and reading a token."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from unittest import mock
from urllib.parse import parse_qsl

from support.subject import iamcacheauth

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SESSION_TOKEN = "AQoDYXdzEE0a8ANXXXXXXXXNO1ewxE5TijQyp+IEXAMPLE=="
NOON = 1767355200.0  # 2026-01-02T12:00:00Z

PERMANENT = iamcacheauth.StaticCredentials(ACCESS_KEY, SECRET_KEY)
TEMPORARY = iamcacheauth.StaticCredentials("ASIAIOSFODNN7EXAMPLE", SECRET_KEY, SESSION_TOKEN)


def clock_at(epoch: float) -> AbstractContextManager[object]:
    """Stop the clock that tokens are signed by."""
    return mock.patch.object(time, "time", lambda: epoch)


def read(token: str) -> tuple[str, dict[str, str]]:
    """The host and the decoded parameters of a token, each of which it must have once."""
    host, _, query = token.partition("/?")
    pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    params = dict(pairs)
    if len(params) != len(pairs):
        raise ValueError(f"a parameter appears twice: {query}")
    return host, params


def label(value: object) -> str:
    """A parameter as part of a test's name, which backslashes would change at every further run in one process."""
    return ascii(value).replace("\\", "/")
