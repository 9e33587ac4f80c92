"""One generator, 64 threads, and a clock that runs: most to be feared where there is no global interpreter lock."""

from __future__ import annotations

import itertools
import threading
import time
from unittest import mock

from support.examples import NOON, read
from support.subject import iamcacheauth
from support.waiting import PATIENCE, Caller, Fetch

THREADS = 64
TOKENS = 50  # of each thread


def test_64_threads_over_many_renewals_and_midnight():
    fetch = Fetch()
    fetch.lifetime = 900.0
    auth = iamcacheauth.ElastiCacheAuth(
        "my-iam-user", "my-cache", region="us-east-1", credentials=iamcacheauth.RefreshingCredentials(fetch)
    )
    seconds = itertools.count()
    together = threading.Barrier(THREADS)

    def sign() -> list[str]:
        together.wait(PATIENCE)
        return [auth.token() for _ in range(TOKENS)]

    with mock.patch.object(time, "time", lambda: NOON + 11.5 * 3600 + next(seconds)):
        callers = [Caller(sign) for _ in range(THREADS)]
        tokens = [token for caller in callers for token in caller.result()]

    assert len(tokens) == THREADS * TOKENS
    for token in tokens:
        assert token == signed_anew(token)
    assert fetch.calls > 3
    assert len({read(token)[1]["X-Amz-Date"][:8] for token in tokens}) == 2


def signed_anew(token: str) -> str:
    """The token with the key that it names, and with the secret and the session token that belong to that key."""
    params = read(token)[1]
    number = params["X-Amz-Credential"].partition("/")[0].rpartition("-")[2]
    return iamcacheauth.presign(
        iamcacheauth.StaticCredentials(f"key-{number}", f"secret-{number}", f"token-{number}"),
        service="elasticache",
        region="us-east-1",
        host="my-cache",
        params=[("Action", "connect"), ("User", "my-iam-user")],
        timestamp=params["X-Amz-Date"],
    )
