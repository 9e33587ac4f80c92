"""The ways in which a process asks a source for credentials, each as a function from a generator to what came of it.

for outcome in CALLERS["64 threads"](auth):
    outcome.token or outcome.error
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import threading
import warnings
from typing import Callable, NamedTuple

from .loopback import told
from .subject import iamcacheauth
from .waiting import PATIENCE, Caller


class Outcome(NamedTuple):
    """A token, or an error: its text, and all that is to be seen of it and of what is behind it."""

    token: str = ""
    error: str = ""
    told: str = ""


def outcome(ask: Callable[[], str]) -> Outcome:
    try:
        return Outcome(token=ask())
    except iamcacheauth.CredentialsError as error:
        return Outcome(error=str(error), told=told(error))


def one(auth: iamcacheauth.TokenGenerator) -> list[Outcome]:
    return [outcome(auth.token)]


def one_awaited(auth: iamcacheauth.TokenGenerator) -> list[Outcome]:
    return [outcome(lambda: asyncio.run(auth.token_async()))]


def threads(auth: iamcacheauth.TokenGenerator) -> list[Outcome]:
    start = threading.Barrier(64)

    def ask() -> Outcome:
        start.wait(PATIENCE)
        return outcome(auth.token)

    return [caller.result() for caller in [Caller(ask) for _ in range(64)]]


def tasks(auth: iamcacheauth.TokenGenerator) -> list[Outcome]:
    async def ask() -> Outcome:
        try:
            return Outcome(token=await auth.token_async())
        except iamcacheauth.CredentialsError as error:
            return Outcome(error=str(error), told=told(error))

    async def ask_all() -> list[Outcome]:
        return await asyncio.gather(*(ask() for _ in range(200)))

    return asyncio.run(ask_all())


def forked_child(auth: iamcacheauth.TokenGenerator) -> list[Outcome]:
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what 3.12 says of forking with threads is what is tested
        child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        try:
            os.write(writer, json.dumps(outcome(auth.token)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        written = pipe.read()
    os.waitpid(child, 0)
    return [Outcome(*json.loads(written))]


def pickled_copy(auth: iamcacheauth.TokenGenerator) -> list[Outcome]:
    return [outcome(pickle.loads(pickle.dumps(auth)).token)]


CALLERS = {
    "sync": one,
    "async": one_awaited,
    "64 threads": threads,
    "200 tasks": tasks,
    "pickled copy": pickled_copy,
}
if hasattr(os, "fork"):
    CALLERS["forked child"] = forked_child
