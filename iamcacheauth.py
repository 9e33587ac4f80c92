# iamcacheauth 0.2.0: IAM authentication tokens for Amazon ElastiCache and MemoryDB
#
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the iamcacheauth authors
#
# Permission is hereby granted, free of charge, to any person obtaining a copy
# of this software and associated documentation files (the "Software"), to deal
# in the Software without restriction, including without limitation the rights
# to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
# copies of the Software, and to permit persons to whom the Software is
# furnished to do so, subject to the following conditions:
#
# The above copyright notice and this permission notice shall be included in all
# copies or substantial portions of the Software.
#
# THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
# IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
# FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
# AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
# LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
# OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
# SOFTWARE.
"""Log in to Amazon ElastiCache and MemoryDB with IAM instead of a password.

    import redis
    from iamcacheauth import for_endpoint

    endpoint = "master.my-cache.abc123.use1.cache.amazonaws.com"
    auth = for_endpoint("my-iam-user", endpoint)
    cache = redis.Redis(host=endpoint, ssl=True, credential_provider=auth)

The password is a SigV4 presigned URL without its scheme, good for 15 minutes.
``auth.token()`` signs a new one at every call, for any client. The command line
(``python3 iamcacheauth.py --help``) prints tokens and says why a login fails.

The file has three parts, each of which uses only itself and what stands above
it (but ``credentials=None`` means a class of the second): signing, credential
sources, and commands, which may be cut off where a line says so.

What it promises:

- one file, the standard library only, Python 3.9 and later; to vendor it, copy
  it as it is, with the licence above;
- byte for byte the token that botocore would sign;
- a cheap import: what signing does not need is imported when it is used;
- no connection is opened but to fetch credentials that are neither given nor in
  environment variables, or by ``check``;
- no secret key, session token or auth token in any error, repr or log line;
- what ``__all__`` names goes on working as it is documented.

The protocol, as AWS describes it:
https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
https://docs.aws.amazon.com/memorydb/latest/devguide/auth-iam.html
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
import time

TYPE_CHECKING = False  # checkers take it for true; importing typing would cost more than this whole module
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime
    from http.client import HTTPMessage, HTTPResponse
    from io import BufferedReader
    from socket import socket
    from ssl import SSLContext
    from typing import Any, NoReturn, Protocol, TypeVar, Union

    _Connection = TypeVar("_Connection")
    _Parsed = TypeVar("_Parsed")
    _Request = tuple[str, str, dict[str, str], Union[str, None]]  # method, URL, headers, body
    _Settings = Mapping[str, str]  # as _settings returns them
    _Findings = list[tuple[str, object]]  # names in _CAUSES, and what was found
    _Retrieve = Callable[[_Settings, float], "StaticCredentials"]  # by settings and a deadline

    class _FrozenCredentials(Protocol):
        """Credentials as botocore-stubs declares them: with keys that may be None, which is refused at run time."""

        @property
        def access_key(self) -> str | None: ...
        @property
        def secret_key(self) -> str | None: ...
        @property
        def token(self) -> str | None: ...

    class _Freezable(Protocol):
        """Credentials that change in place but can be had as one consistent set: botocore's."""

        def get_frozen_credentials(self) -> _FrozenCredentials: ...

    _AnyCredentials = Union[_FrozenCredentials, _Freezable]
    _Failure = tuple[str, Union[BaseException, None]]  # its text and cause, of which every waiter makes its own error
    _CredentialsArgument = Union[_AnyCredentials, Callable[[], _AnyCredentials], None]
    # Clients declare their provider parameter as a class of their own; a base of Any fits all of them.
    _AnyProvider = Any
else:
    Protocol = _AnyProvider = object

__version__ = "0.2.0"
__all__ = [
    "AssumedRole",
    "ConfigurationError",
    "Credentials",
    "CredentialsError",
    "ElastiCacheAuth",
    "EnvironmentCredentials",
    "Error",
    "MemoryDBAuth",
    "RefreshingCredentials",
    "StaticCredentials",
    "TokenGenerator",
    "canonical_query",
    "canonical_request",
    "for_endpoint",
    "presign",
    "signing_key",
    "string_to_sign",
    "uri_encode",
    "with_lifetime",
]

_TOKEN_LIFETIME = 900  # seconds; both services refuse a longer X-Amz-Expires

# --- errors ---


class Error(Exception):
    """Base class of every error that this module raises on purpose."""


class ConfigurationError(Error, ValueError):
    """An argument or setting is missing or malformed; the message says what to write instead."""


class CredentialsError(Error, OSError):
    """Credentials could not be had; ``__cause__`` is the reason, where there is one.

    It is an OSError because clients treat those as connection problems, which they retry.
    """


# --- credentials ---


class Credentials(Protocol):
    """What signing needs. Any object with these attributes will do, botocore's among them.

    access_key: the access key id. secret_key: the secret access key.
    token: the session token of temporary credentials; None or empty for permanent ones.
    """

    if TYPE_CHECKING:

        @property
        def access_key(self) -> str: ...
        @property
        def secret_key(self) -> str: ...
        @property
        def token(self) -> str | None: ...


class StaticCredentials:
    """One set of AWS credentials, with the attributes of ``Credentials`` and ``expiration``; it cannot be changed.

    access_key, secret_key: text. token: text, or None for permanent keys.
    expiration: when they stop working, as epoch seconds, as ISO 8601 text the way AWS
    writes it ("2026-01-02T03:04:05Z") or as an aware datetime; None if they do not.
    The attribute holds epoch seconds or None.

    Raises ConfigurationError for a value that cannot be right, without repeating it.
    """

    __slots__ = ("access_key", "expiration", "secret_key", "token")
    access_key: str
    secret_key: str
    token: str | None
    expiration: float | None

    # Not __init__: what is refused must not leave half an object behind, in a traceback for instance.
    def __new__(
        cls,
        access_key: str,
        secret_key: str,
        token: str | None = None,
        expiration: float | str | datetime | None = None,
    ) -> StaticCredentials:
        values = {
            "access_key": _checked_key("access_key", access_key),
            "secret_key": _checked_key("secret_key", secret_key),
            "token": None if token is None or token == "" else _checked_key("token", token),
            "expiration": None if expiration is None else _epoch(expiration),
        }
        self = super().__new__(cls)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        return self

    def __setattr__(self, name: str, value: object = None) -> None:
        raise AttributeError("StaticCredentials cannot be changed: make new ones")

    __delattr__ = __setattr__

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.access_key, self.secret_key, self.token, self.expiration)

    def __repr__(self) -> str:
        return f"<StaticCredentials {_described(self)}>"


# One renewal. How fetched credentials are kept and renewed, for threads, event loops and forked processes alike:
#
# - Whoever finds valid credentials signs with them at once. Valid means that a minute is left, or a tenth of their
#   lifetime if that is less. If they are also due to be renewed, a renewal is begun in the background.
# - A renewal calls fetch in a daemon thread of its own, so that nothing fetch gets stuck in (a resolver, a pipe, a
#   mount that is gone) holds a caller, and no signal handler or cancelled task tears it. Callers without valid
#   credentials wait for its Future, for as long as their timeout, and sign with what is left if it fails: a token is
#   worth no more than its credentials. Each raises an error of its own: one exception that is raised in a hundred
#   threads collects the traceback of all of them.
# - At most one renewal runs per process. It is registered under the process id, so that a child forked meanwhile,
#   where its thread does not exist, finds none and begins its own. dict.setdefault registers: it is atomic, and
#   unlike a lock cannot be left locked by a fork or by a signal handler's exception. The renewal is taken off the
#   register before its outcome is published, or the next caller could be given the outcome of the last.
# - Credentials are due from 15 minutes before they expire, or a third of their lifetime if that is less, and up to a
#   twelfth of their lifetime earlier, at random, so that a fleet that started together does not ask together. After
#   a failure there is a pause: 10 to 15 seconds while the old ones are valid, else one second, which the next
#   renewal, begun already, waits out: who comes meanwhile waits for that one and is not given the old failure.
# - A fetch may fail by its own time limit only because its thread stood still (a frozen Lambda function, uWSGI
#   without enable-threads). Who joined late would be given that failure at once, so for them it is called once more.
# - A fetch that has not returned after ten times the timeout is given up, and another may begin; of those that hang,
#   there are at most four.

_INTERRUPTED = "the fetch of credentials was interrupted", None
_FETCH_SHARE = 0.9  # of the timeout: sources end before their callers' patience does, so that their reason is heard


class RefreshingCredentials:
    """Calls ``fetch`` for credentials, keeps them, and renews them before they expire.

    fetch: a callable without arguments that returns an object with the attributes of
    ``Credentials`` and, optionally, ``expiration`` (see StaticCredentials; without one
    they are kept for good, so give botocore's, which renew themselves, to a generator as
    they are). It is called in a daemon thread of its own, where thread-locals, context
    variables and signals of the caller's do not reach, and never twice at a time, unless
    it hangs for ten times the timeout.
    timeout: the longest wait of a caller, in seconds, a day at most.

    Callers with valid credentials never wait: what expires within 15 minutes (or a third
    of its lifetime, if that is less) is renewed in the background, and again 10 to 15
    seconds later if that fails. Callers without wait for the one fetch under way.

    Safe to share between threads, event loops and forked processes. A copy or pickle
    takes ``fetch`` along but nothing that was fetched. Calling the object returns a
    StaticCredentials or raises CredentialsError.
    """

    _modules: tuple[str, ...] = ("concurrent.futures", "threading")

    def __init__(self, fetch: Callable[[], _AnyCredentials], *, timeout: float = 5.0) -> None:
        if not callable(fetch):
            raise ConfigurationError(f"fetch: a callable without arguments is wanted, not {_kind(fetch)}")
        self._fetch = fetch
        self._timeout = _checked_timeout(timeout)
        self._session = _Session()
        self._import_ahead()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _session=_Session())
        self._import_ahead()

    def __call__(self) -> StaticCredentials:
        return self._at_hand(time.time()) or self._awaited()

    def _import_ahead(self) -> None:
        """Import what a renewal takes: a child forked while another thread imports finds the import locked for ever."""
        for module in self._modules:
            try:
                __import__(module)
            except ImportError:
                continue  # the fetch that takes it will say so; another source may do without

    def _at_hand(self, now: float) -> StaticCredentials | None:
        """Valid credentials, whose renewal is begun if it is due; None if the caller has to wait. Never blocks."""
        session = self._session
        credentials, due, valid_until = session.kept
        if now >= valid_until:
            return None
        if now >= due:
            self._renewal(session, in_background=True)
        return credentials

    def _awaited(self) -> StaticCredentials:
        """Wait for credentials that are not at hand."""
        from concurrent.futures import TimeoutError

        session = self._session
        try:
            return self._settled(session, self._renewal(session).future.result(self._timeout))
        except TimeoutError:
            return self._settled(session, None)

    async def _awaited_async(self) -> StaticCredentials:
        """Do what _awaited() does without blocking asyncio's loop."""
        import asyncio

        session, loop = self._session, _running_loop()
        try:
            future = asyncio.wrap_future(self._renewal(session).future, loop=loop)
            return self._settled(session, await asyncio.wait_for(future, self._timeout))
        except asyncio.TimeoutError:
            return self._settled(session, None)

    def _settled(self, session: _Session, outcome: StaticCredentials | _Failure | None) -> StaticCredentials:
        """What to sign with after the wait; None is the outcome of one that was too long."""
        if isinstance(outcome, StaticCredentials):
            return outcome
        left = session.kept[0]
        if left is not None and (left.expiration or 0) > time.time():
            return left
        if outcome is None:
            reason, cause = session.failure or ("", None)
            late = f"{self._source()}: no credentials within {self._timeout:g} s"
            outcome = f"{late}; before, {reason}" if reason else late, cause
        raise CredentialsError(outcome[0]) from outcome[1]

    def _source(self) -> str:
        return "credentials: fetch"

    def _renewal(self, session: _Session, *, in_background: bool = False) -> _Renewal:
        """The renewal under way, which is begun if there is none."""
        import threading

        current = session.under_way(self._timeout)
        if current is not None:
            if in_background:
                return current
            if current.thread == threading.get_ident():
                raise CredentialsError(
                    f"{self._source()}: asked for in the thread that fetches them, by fetch itself or a signal handler"
                )
            current.joined = True
            return current
        own = _Renewal()
        try:
            current = session.renewals.setdefault(os.getpid(), own)
            if current is own:
                threading.Thread(target=self._renew, args=(session, own), daemon=True).start()
            return current
        except RuntimeError:  # no thread can be started: limits, interpreter shutdown, an isolated subinterpreter
            if not in_background:
                self._renew(session, own)
            elif own.is_claimed_now():
                self._end(session, own, session.failed("no thread could be started to fetch credentials in", None))
            return own
        except BaseException:  # a signal handler's; Thread.start() may have started the thread all the same
            if own.is_claimed_now():
                self._end(session, own, _INTERRUPTED)
            raise

    def _renew(self, session: _Session, renewal: _Renewal) -> None:
        """Fetch, and give the outcome to all who wait; in the renewal's own thread, if one can be had."""
        import threading

        if not renewal.is_claimed_now():
            return
        renewal.thread = threading.get_ident()
        outcome: StaticCredentials | _Failure = _INTERRUPTED
        try:
            while True:
                time.sleep(max(0.0, session.paused_until - time.monotonic()))
                renewal.began, renewal.joined = time.monotonic(), False
                outcome = self._fetched(session)
                out_of_time = time.monotonic() - renewal.began >= _FETCH_SHARE * self._timeout
                if isinstance(outcome, StaticCredentials) or not (renewal.joined and out_of_time):
                    break
        finally:
            self._end(session, renewal, outcome)

    def _fetched(self, session: _Session) -> StaticCredentials | _Failure:
        credentials, due, valid_until = session.kept
        if credentials is not None and time.time() < min(due, valid_until):
            return credentials  # another renewal ended between the caller's look at them and its registering
        try:
            credentials = _asked(self._fetch)
        except CredentialsError as error:
            return session.failed(str(error), error.__cause__ or error)
        except BaseException as error:  # which a thread of ours has nobody else to tell
            return session.failed(f"credentials: asking for them raised {type(error).__name__}", error)
        due = valid_until = float("inf")
        if credentials.expiration is not None:
            lifetime = credentials.expiration - time.time()
            due = credentials.expiration - min(900, lifetime / 3) - _random() * lifetime / 12
            valid_until = credentials.expiration - min(60, lifetime / 10)
        session.kept, session.failure = (credentials, due, valid_until), None
        return credentials

    def _end(self, session: _Session, renewal: _Renewal, outcome: StaticCredentials | _Failure) -> None:
        session.take_off(renewal)
        renewal.is_over = True
        renewal.future.set_result(outcome)


class _Session:
    """What is known of one identity's credentials."""

    def __init__(self, configuration: tuple[str | None, ...] = ()) -> None:
        self.configuration = configuration
        # The credentials, when they are due to be renewed, and until when nobody need wait for that (epoch seconds):
        # one object, so that no thread sees half of it.
        self.kept: tuple[StaticCredentials | None, float, float] = (None, 0.0, 0.0)
        # What the variables of static keys held, and what was made of it: one object, too.
        self.static: tuple[tuple[Any, ...], StaticCredentials | None] = ((), None)
        self.renewals: dict[int, _Renewal] = {}  # under way, by process id
        self.hanging: dict[int, set[_Renewal]] = {}  # given up, by process id
        self.successors: dict[tuple[str | None, ...], _Session] = {}  # by configuration
        self.failure: _Failure | None = None  # of the last fetch that failed
        self.paused_until = 0.0  # of time.monotonic(): when the next fetch may begin

    def under_way(self, timeout: float) -> _Renewal | None:
        """This process's renewal; one that hangs is given up, and none then."""
        process = os.getpid()
        renewal = self.renewals.get(process)
        if renewal is None:
            return None
        # It may be over though registered still, as two interruptions on end may leave it.
        if not renewal.is_over and time.monotonic() - renewal.began <= 10 * timeout:
            return renewal
        hanging = {each for each in self.hanging.get(process, ()) if not each.is_over}
        if not renewal.is_over and len(hanging) >= 3:
            return renewal
        self.hanging[process] = {*hanging, renewal}
        self.take_off(renewal)
        return None

    def take_off(self, renewal: _Renewal) -> None:
        """Take a renewal of this process off the register, unless another has its place."""
        process = os.getpid()
        if self.renewals.get(process) is renewal:
            self.renewals.pop(process, None)

    def failed(self, text: str, cause: BaseException | None) -> _Failure:
        """Take note of a failure: the pause after it begins now."""
        credentials, _, valid_until = self.kept
        self.kept = (credentials, time.time() + 10 + 5 * _random(), valid_until)
        self.paused_until = time.monotonic() + 1
        self.failure = text, cause
        return self.failure


class _Renewal:
    """One fetch, and the Future of its outcome."""

    def __init__(self) -> None:
        from concurrent.futures import Future

        self.future: Future[StaticCredentials | _Failure] = Future()
        self.future.set_running_or_notify_cancel()  # or a waiter that is cancelled would cancel it for all
        self.began = time.monotonic()
        self.joined = False  # since it began
        self.is_over = False  # what future.done() would say with a lock, for which the callers of a due renewal queue
        self.thread = 0
        self._unclaimed = [self]

    def is_claimed_now(self) -> bool:
        """Whether the caller is the first to claim it, and so the one who works on it."""
        try:
            return self._unclaimed.pop() is self  # atomic
        except IndexError:
            return False


class _Given:
    """Credentials of the user's: an object, which is read again at every token, or a callable, which may block."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    def __deepcopy__(self, memo: object) -> _Given:
        return self  # the user's object may hold locks and sockets, and is theirs to copy

    def __call__(self) -> StaticCredentials:
        return self._at_hand(time.time()) or self._awaited()

    def _at_hand(self, now: float) -> StaticCredentials | None:
        if isinstance(self._credentials, StaticCredentials):  # checked once and for all: a tenth of a token's cost
            return _unexpired(self._credentials, now, "credentials: ")
        return None if callable(self._credentials) else _asked(lambda: self._credentials, now)

    def _awaited(self) -> StaticCredentials:
        return _asked(self._credentials)

    async def _awaited_async(self) -> StaticCredentials:
        return await _running_loop().run_in_executor(None, self._awaited)


def _provider_for(credentials: Any, region: str | None, timeout: float = 5.0) -> RefreshingCredentials | _Given:
    """What a ``credentials`` argument stands for; region and timeout are for the environment's."""
    if credentials is None:
        return EnvironmentCredentials(region=region, timeout=timeout)
    if isinstance(credentials, RefreshingCredentials):
        return credentials
    if not callable(credentials) and hasattr(credentials, "get_frozen_credentials"):
        return _Given(credentials.get_frozen_credentials)
    # dir() runs no property, as hasattr would
    if callable(credentials) or {"access_key", "secret_key", "token"}.issubset(dir(credentials)):
        return _Given(credentials)
    raise ConfigurationError(
        "credentials: None, an object with access_key, secret_key and token, or a callable without arguments"
        f" that returns one is wanted, not {_kind(credentials)}"
    )


def _asked(function: Callable[[], Any], now: float | None = None) -> StaticCredentials:
    """The credentials that ``function`` gives, valid at ``now`` or after the call; anything else: CredentialsError."""
    try:
        found = function()
        if not isinstance(found, StaticCredentials) and hasattr(found, "get_frozen_credentials"):
            found = found.get_frozen_credentials()
        if not isinstance(found, StaticCredentials):
            missing = [name for name in ("access_key", "secret_key", "token") if not hasattr(found, name)]
            if missing:
                raise CredentialsError(f"credentials: {_kind(found)} has no {' and no '.join(missing)}")
            expiration = getattr(found, "expiration", None)
            found = StaticCredentials(found.access_key, found.secret_key, found.token, expiration)
    except CredentialsError:
        raise
    except Error as error:
        raise CredentialsError(f"credentials: {error}") from error
    except Exception as error:  # whose text may hold a secret, for all we know
        raise CredentialsError(
            f"credentials: asking for them raised {type(error).__name__}; __cause__ holds it"
        ) from error
    return _unexpired(found, time.time() if now is None else now, "credentials: ")


def _described(credentials: StaticCredentials) -> str:
    kind = "temporary" if credentials.token or credentials.access_key.startswith("ASIA") else "permanent"
    expiry = "" if credentials.expiration is None else f", until {_utc(credentials.expiration)}"
    return f"{_shortened(credentials.access_key)}, {kind}{expiry}"


def _unexpired(credentials: StaticCredentials, now: float, said: str) -> StaticCredentials:
    if credentials.expiration is not None and credentials.expiration <= now:
        raise CredentialsError(f"{said}they expired at {_utc(credentials.expiration)}")
    return credentials


def _running_loop() -> AbstractEventLoop:
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise CredentialsError(
            "token_async: waiting for credentials takes a running asyncio loop;"
            " under trio, await anyio.to_thread.run_sync(auth.get_credentials)"
        ) from None


def _random() -> float:
    """From 0 to 1. The module random would take as long to import as this whole file."""
    try:
        return int.from_bytes(os.urandom(4), "big") / 2**32
    except (OSError, NotImplementedError):  # where it is a file, there may be none, or no descriptors left
        return time.perf_counter() % 1


# --- token generators ---


class TokenGenerator(_AnyProvider):  # type: ignore[misc]
    """What ElastiCacheAuth and MemoryDBAuth have in common; construct one of those.

    Safe to share between threads, event loops and forked processes; can be pickled and
    copied, without anything that was fetched or derived.
    """

    _service = _user = _name = _region = ""  # for the repr of one whose arguments were refused

    def __init__(
        self, user: str, name: str, region: str | None, credentials: _CredentialsArgument, serverless: bool = False
    ) -> None:
        self._user = user
        self._name = name
        self._region = _resolved_region(region)
        self._provider = _provider_for(credentials, self._region)
        self._serverless = serverless
        # What the last token was made with, and what signs the next one: one object, so that no thread sees half of it.
        self._signer: tuple[object, Callable[[str], str]] = (None, str)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._user}@{self._name} in {self._region}>"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_signer": (None, str)}

    @property
    def user(self) -> str:
        """The user as signed, which is the user to give to AUTH."""
        return self._user

    @property
    def name(self) -> str:
        """The cache's or cluster's name as signed."""
        return self._name

    @property
    def region(self) -> str:
        """The region as signed, such as "us-east-1"."""
        return self._region

    @property
    def service(self) -> str:
        """The service as signed: "elasticache" or "memorydb"."""
        return self._service

    def token(self) -> str:
        """Sign a new token: text, the password for AUTH, valid for the next 900 seconds.

        It stops working earlier if the credentials it is signed with expire. May block
        while credentials are fetched. Raises CredentialsError if there are none.
        """
        now = time.time()
        credentials = self._provider._at_hand(now)
        if credentials is None:
            credentials = self._provider._awaited()
            now = time.time()  # the fetch took a while, and the token's lifetime starts now
        return self._sign(credentials, now)

    async def token_async(self) -> str:
        """Do what token() does without blocking asyncio's loop: credentials are fetched in a thread.

        Outside asyncio, it raises CredentialsError when credentials have to be fetched.
        """
        now = time.time()
        credentials = self._provider._at_hand(now)
        if credentials is None:
            credentials = await self._provider._awaited_async()
            now = time.time()
        return self._sign(credentials, now)

    def get_credentials(self) -> tuple[str, str]:
        """Return (user, token), a new token each time: what redis-py's ``credential_provider`` is asked for."""
        return self._user, self.token()

    async def get_credentials_async(self) -> tuple[str, str]:
        """Do what get_credentials() does, without blocking the event loop."""
        return self._user, await self.token_async()

    def _sign(self, credentials: StaticCredentials, now: float) -> str:
        timestamp = _timestamp(now)
        wanted = (credentials.access_key, credentials.secret_key, credentials.token, timestamp[:8])
        made_for, sign = self._signer
        if made_for != wanted:
            params = [("Action", "connect"), ("User", self._user)]
            if self._serverless:
                params.append(("ResourceType", "ServerlessCache"))
            sign = _signer(credentials, self._service, self._region, self._name, params, timestamp[:8], _TOKEN_LIFETIME)
            self._signer = (wanted, sign)
        return sign(timestamp)


class ElastiCacheAuth(TokenGenerator):
    """Tokens for an ElastiCache replication group or serverless cache.

    user: the user id, which for IAM equals the user name. cache: the replication group id
    or the serverless cache's name, not its endpoint. Both are signed in lower case, as
    ElastiCache stores them.
    region: such as "us-east-1"; None means AWS_REGION, then AWS_DEFAULT_REGION.
    serverless: True for ElastiCache Serverless.
    credentials: None for EnvironmentCredentials(region=region), an object with the
    attributes of ``Credentials``, or a callable without arguments that returns one. An object
    with get_frozen_credentials(), such as botocore's, is asked for a frozen set at every token.

    Raises ConfigurationError for an argument that cannot be right.
    https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
    """

    _service = "elasticache"

    def __init__(
        self,
        user: str,
        cache: str,
        *,
        region: str | None = None,
        serverless: bool = False,
        credentials: _CredentialsArgument = None,
    ) -> None:
        if not isinstance(serverless, bool):
            raise ConfigurationError(f"serverless: True or False is wanted, not {_kind(serverless)}")
        name = _checked_name("cache", cache, longest=None if serverless else 40)
        super().__init__(_checked_user(self._service, user), name, region, credentials, serverless)


class MemoryDBAuth(TokenGenerator):
    """Tokens for a MemoryDB cluster.

    user: the user name. cluster: the cluster's name, not its endpoint. Both are signed in
    lower case, as MemoryDB stores them. region, credentials: see ElastiCacheAuth.

    Raises ConfigurationError for an argument that cannot be right.
    https://docs.aws.amazon.com/memorydb/latest/devguide/auth-iam.html
    """

    _service = "memorydb"

    def __init__(
        self, user: str, cluster: str, *, region: str | None = None, credentials: _CredentialsArgument = None
    ) -> None:
        super().__init__(_checked_user(self._service, user), _checked_name("cluster", cluster), region, credentials)


# --- endpoints ---
#
# AWS's own host names tell everything that a token is signed for. Before the region, they have one of these forms, with
# words in capitals for what differs. Beside a form for connections without TLS stands the one with TLS: of a cache that
# is being changed over, both exist.

_ENDPOINT_FORMS: dict[str, dict[str, str | None]] = {
    "elasticache": {
        "NODE.NAME.ID": "",  # where NODE may be master, replica or clustercfg as well
        "NAME(-SUFFIX)?(.public)?.serverless": "",
        "NAME.ID.clustercfg": "clustercfg.NAME.ID",
        "NAME-ro.ID.ng.SHARD": "replica.NAME.ID",
        "NAME.ID.ng.SHARD": "master.NAME.ID",
        "NODE-SHARD-MEMBER.ID.SHARD": "clustercfg.NAME.ID",  # of a cache called NODE, or without a group and so called
        "NODE-MEMBER.ID.SHARD": "master.NAME.ID",
        "NAME.ID.SHARD": "master.NAME.ID",
        "NAME.ID.cfg(.SHARD)?": None,  # Memcached
        "(?!ROLE.)NAME.ID": None,
    },
    "memorydb": {
        "NODE.NAME.ID": "",
        "NAME.ID.clustercfg": "clustercfg.NAME.ID",
        "NAME-SHARD-MEMBER.ID.SHARD": "clustercfg.NAME.ID",
        "(?!ROLE.)NAME.ID": None,
    },
}
_LABEL = "[a-z][a-z0-9]*(?:-[a-z0-9]+)*?"
_ENDPOINT_WORDS = {
    "NODE": _LABEL,
    "ROLE": "(?:master|primary|replica|clustercfg)",
    "NAME": f"(?P<NAME>{_LABEL})",
    "ID": r"(?P<ID>(?!(?:cfg|clustercfg|ng|public|serverless|[0-9]{4})\b)[a-z0-9]+)",
    "SUFFIX": "(?:[a-z0-9]{6}|(?=[a-z]*[0-9])[a-z0-9]{5,})",  # six with all real caches, five in a sample of AWS's
    "SHARD": "[0-9]{4}",
    "MEMBER": "[0-9]{3}",
}
_PARTITIONS = (  # how its regions begin, its name in ARNs, and the end of its host names
    # https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
    ("cn-", "aws-cn", "amazonaws.com.cn"),
    ("us-gov-", "aws-us-gov", "amazonaws.com"),
    ("us-iso-", "aws-iso", "c2s.ic.gov"),
    ("us-isob-", "aws-iso-b", "sc2s.sgov.gov"),
    ("eu-isoe-", "aws-iso-e", "cloud.adc-e.uk"),
    ("us-isof-", "aws-iso-f", "csp.hci.ic.gov"),
    ("eusc-", "aws-eusc", "amazonaws.eu"),
    ("", "aws", "amazonaws.com"),
)
# ElastiCache's codes of the regions: the words' first letters and the number, as in usgw1 and apse2, but for these.
_ODD_CODES = {
    "apn2": "ap-northeast-2",
    "apn3": "ap-northeast-3",
    "cnw1": "cn-northwest-1",
    "euscdee1": "eusc-de-east-1",
}
_CODE_WORDS = {"g": "gov-", "i": "iso-", "n": "north", "s": "south", "e": "east", "w": "west", "c": "central"}
# AWS lists them nowhere. These were seen in host names of real caches; what follows from the rule alone is less sure.
_SEEN_CODES = (
    "use1 use2 usw1 usw2 usgw1 cac1 caw1 sae1 euw1 euw2 euw3 euc1 euc2 eun1 eus1 eus2 afs1 ilc1 mec1 mes1 ape1 aps1"
    " aps2 apse1 apse2 apse3 apse7 apne1 apn2 apn3 cnn1 cnw1"
)


def for_endpoint(
    user: str, endpoint: str, *, region: str | None = None, credentials: _CredentialsArgument = None
) -> ElastiCacheAuth | MemoryDBAuth:
    """Make the generator for a cache or cluster out of its endpoint.

    user, credentials: see ElastiCacheAuth. endpoint: AWS's own host name, with or without a
    port, such as "master.my-cache.abc123.use1.cache.amazonaws.com".
    region: only needed if the host name's short form of it is not known.

    Raises ConfigurationError for an alias, an address or a URL; for host names that are
    Memcached's or for connections without TLS, since IAM needs it; and for a region that
    is not the endpoint's. ElastiCacheAuth and MemoryDBAuth need no endpoint.
    https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Endpoints.html
    https://docs.aws.amazon.com/memorydb/latest/devguide/endpoints.html
    """
    text = endpoint if isinstance(endpoint, str) else ""
    found = _parsed_endpoint(text)
    if not found:
        inside = _parsed_endpoint(_location(text))
        raise ConfigurationError(
            "endpoint: AWS's own host name is wanted, like 'master.my-cache.abc123.use1.cache.amazonaws.com'"
            + (f"; it is probably {inside.host!r}" if inside else "")
            + "; for any other, use ElastiCacheAuth or MemoryDBAuth with the name"
        )
    service = MemoryDBAuth if found.service == "memorydb" else ElastiCacheAuth
    if found.flaw:
        raise ConfigurationError(f"endpoint: {found.flaw}; {service.__name__} with the name needs none")
    if region is None and not found.region:
        raise ConfigurationError(
            f"region: it does not follow from the endpoint's {found.code!r}; pass one like 'us-east-1'"
        )
    sure = found.region and (found.service == "memorydb" or found.code in _SEEN_CODES.split())
    if sure and region not in (None, found.region):
        raise ConfigurationError(f"region: the endpoint's is {found.region}; leave it out")
    how: dict[str, Any] = {"region": region or found.region, "credentials": credentials}
    if found.service == "memorydb":
        return MemoryDBAuth(user, found.name, **how)
    return ElastiCacheAuth(user, found.name, serverless=found.serverless, **how)


def _parsed_endpoint(endpoint: str) -> Any:
    """What a host name, with or without a port, tells; None if it is none that AWS gives to caches or clusters.

    service; name, None if the form leaves it open; region, None if its code tells nothing;
    code, the region as it is written; serverless; public; flaw: why no token is of use there,
    or empty; host, in lower case, without a port or a final dot.
    """
    import re
    from types import SimpleNamespace

    domains = "|".join(re.escape(domain) for _, _, domain in _PARTITIONS)
    place = r"(?:(?P<code>[a-z0-9]+)\.cache|memorydb\.(?P<region>[a-z]+(?:-[a-z]+)+-[0-9]+))"
    host = rf"(?P<host>(?P<form>.+)\.(?P<end>{place}\.(?P<domain>{domains})))\.?(?::[0-9]{{1,5}})?"
    found = re.fullmatch(host, endpoint.lower()) if endpoint.isascii() else None
    if not found:
        return None

    def filled(form: str, words: Mapping[str, str]) -> str:
        return re.sub("[A-Z]+", lambda word: words.get(word[0], word[0]), form)

    service = "elasticache" if found["code"] else "memorydb"
    region = found["region"] or _region_of(found["code"])
    for form, tls_form in _ENDPOINT_FORMS[service].items():
        labels = re.fullmatch(filled(form.replace(".", r"\."), _ENDPOINT_WORDS), found["form"])
        if not labels:
            continue
        flaw = "it is Memcached's, which knows no IAM" if ".cfg" in form else ""
        if tls_form:
            with_tls = f"{filled(tls_form, labels.groupdict())}.{found['end']}"
            flaw = f"it is for connections without TLS, which IAM needs; with TLS, it is probably {with_tls!r}"
        return SimpleNamespace(
            service=service,
            name=labels.groupdict().get("NAME"),
            region=region if region and _partition(region)[1] == found["domain"] else None,
            code=found["code"] or found["region"],
            serverless=form.endswith(".serverless"),
            public=".public." in found["form"],
            flaw=flaw,
            host=found["host"],
        )
    return None


def _region_of(code: str) -> str | None:
    """The region that ElastiCache's host names write like this; None if that is not sure."""
    import re

    found = re.fullmatch("(?!apn[0-9]|cnw)([a-z]{2})([gi]?(?:[ns]?[ew]|[nsc]))([1-9][0-9]?)", code)
    by_rule = f"{found[1]}-{''.join(_CODE_WORDS[letter] for letter in found[2])}-{found[3]}" if found else None
    return _ODD_CODES.get(code, by_rule)


def _partition(region: str) -> tuple[str, str]:
    """The name that ARNs give to a region's part of AWS, and the end of its host names."""
    return next((name, domain) for prefix, name, domain in _PARTITIONS if region.startswith(prefix))


def _location(text: str) -> str:
    """A URL's host and port; of anything else, what may be one."""
    return text.rpartition("://")[2].rpartition("@")[2].partition("/")[0]


def _probable_name(location: str) -> str:
    """The name in an endpoint, URL or ARN, as the end of an error; nothing if it may as well be a secret."""
    found = _parsed_endpoint(_location(location))
    host, _, port = _location(location).partition(":")
    if found:
        name = found.name or ""
    elif location.startswith("arn:"):
        name = "" if ":user" in location else location.replace("/", ":").rpartition(":")[2]
    else:
        name = host if port.isdigit() or ("://" in location and not port) else ""
    return f"; it is probably {name.lower()!r}" if _is_name(name) else ""


# --- connections ---


def with_lifetime(connection_class: type[_Connection], *, seconds: float = 39600) -> type[_Connection]:
    """Make a connection class that reconnects before the cache cuts it, which is twelve hours after the login.

    connection_class: redis-py's or valkey-py's, sync or asyncio, such as redis.SSLConnection;
    pass the result on as ``connection_class``. A connection that a pool hands out when it is
    that many seconds old, less up to a tenth at random, is renewed before its first command.
    In use, it is left alone: between WATCH and EXEC, and for as long as it is subscribed.
    (asyncio's from_url prefers its own class for rediss://; give asyncio.Redis a ConnectionPool.)

    Raises ConfigurationError for another kind of class and for more than twelve hours.
    https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
    """
    import inspect

    if not isinstance(connection_class, type) or not hasattr(connection_class, "register_connect_callback"):
        raise ConfigurationError("connection_class: redis-py's or valkey-py's is wanted, such as redis.SSLConnection")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= 43200:
        raise ConfigurationError("seconds: a positive number is wanted, 43200 at most, after which the cache cuts")

    base: Any = connection_class
    new_class: Any = type  # which checkers would not believe to make a class like the one given

    def is_due(connection: Any) -> bool:
        # Pools call connect() whenever they hand a connection out, but PubSub does at every read: whoever reconnects
        # then loses messages. Only the client's private list of those to tell of a new connection shows PubSub.
        now = time.monotonic()
        if now < connection.renewal_due or connection._connect_callbacks:
            return False
        connection.renewal_due = now + seconds * (1 - _random() / 10)
        return True

    def connect(self: Any) -> None:
        if is_due(self):
            self.disconnect()
        base.connect(self)

    async def connect_async(self: Any) -> None:
        if is_due(self):
            await self.disconnect(nowait=True)
        await base.connect(self)

    own = {"connect": connect_async if inspect.iscoroutinefunction(base.connect) else connect, "renewal_due": 0.0}
    result: type[_Connection] = new_class(base.__name__, (base,), own)
    return result


# --- SigV4 ---
#
# Signature Version 4 of a presigned GET request, step by step under AWS's own names:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

_ALGORITHM = "AWS4-HMAC-SHA256"
_EMPTY_PAYLOAD_HASH = hashlib.sha256(b"").hexdigest()
_SIGNING_PARAMS = frozenset(
    "X-Amz-" + name
    for name in ("Algorithm", "Credential", "Date", "Expires", "Security-Token", "Signature", "SignedHeaders")
)
_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def uri_encode(text: str) -> str:
    """Percent-encode the UTF-8 form of ``text``, all but the unreserved characters of RFC 3986.

    Raises ConfigurationError for anything that is not text with a UTF-8 form.
    """
    try:
        encoded = text.encode()
    except (AttributeError, UnicodeEncodeError):
        raise ConfigurationError("uri_encode: text with a UTF-8 form is wanted") from None
    # urllib.parse.quote(text, safe="") does the same, but takes longer to import than this whole module.
    # Replacing one kind of byte after the other takes a sixth of the time of going through them one by one.
    reserved = encoded.translate(None, _UNRESERVED)
    if reserved:
        encoded = encoded.replace(b"%", b"%25")
        for byte in set(reserved).difference(b"%"):
            encoded = encoded.replace(bytes([byte]), b"%%%02X" % byte)
    return encoded.decode()


def canonical_query(params: Iterable[tuple[str, str]]) -> str:
    """Encode ``params``, pairs of name and value, and sort them by encoded name, then by encoded value.

    Raises ConfigurationError for anything but pairs of text.
    """
    return _joined(sorted(_encoded(_checked_params(params))))


def canonical_request(host: str, params: Iterable[tuple[str, str]]) -> str:
    """The canonical request of ``GET https://host/?params`` with only its host header and no payload.

    The host is written as clients send it: in lower case, and without HTTPS's own port.

        GET
        /
        <canonical query>
        host:<host>
        <empty line: the canonical headers end>
        host
        <SHA-256 of the empty payload, in hex>
    """
    if not isinstance(host, str):
        raise ConfigurationError(f"host: text is wanted, not {_kind(host)}")
    return _canonical_request(host, canonical_query(params))


def string_to_sign(timestamp: str, scope: str, canonical_request: str) -> str:
    """Algorithm, timestamp ("20260102T030405Z"), credential scope and the canonical request's hash, a line each.

    scope: "<date>/<region>/<service>/aws4_request", the date in the form "20260102".
    """
    return "\n".join((_ALGORITHM, timestamp, scope, hashlib.sha256(canonical_request.encode()).hexdigest()))


def signing_key(secret_key: str, date: str, region: str, service: str) -> bytes:
    """Derive the 32 bytes that sign for one date ("20260102"), region and service.

    Raises ConfigurationError if the secret key is not text.
    """
    try:
        key = b"AWS4" + secret_key.encode()
    except (AttributeError, UnicodeEncodeError):  # whose text is not quoted: it is the secret
        raise ConfigurationError("secret_key: text with a UTF-8 form is wanted") from None
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def presign(
    credentials: Credentials,
    *,
    service: str,
    region: str,
    host: str,
    params: Iterable[tuple[str, str]],
    timestamp: str,
    expires: int = 900,
) -> str:
    """Presign ``GET https://host/?params`` and return its URL without the scheme.

    The order of ``params`` is kept; after them come the X-Amz- parameters.
    timestamp: when the signature starts to be valid, in the form "20260102T030405Z".
    expires: for how long, in seconds, from 1 to 604,800 (AWS's limit, seven days).

    Raises ConfigurationError for a malformed argument, CredentialsError for credentials
    that cannot sign.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html
    """
    for argument, value, forbidden in (("service", service, "/"), ("region", region, "/"), ("host", host, "/?#@&")):
        if _flaw(value) or not set(value).isdisjoint(forbidden):
            raise ConfigurationError(f"{argument}: visible ASCII text without any of {forbidden} is wanted")
    if not _is_timestamp(timestamp):
        raise ConfigurationError("timestamp: UTC in the form '20260102T030405Z' is wanted")
    if isinstance(expires, bool) or not isinstance(expires, int) or not 1 <= expires <= 604800:
        raise ConfigurationError("expires: seconds from 1 to 604800 are wanted")
    params = _checked_params(params)
    names = {name.lower() for name, _ in params}
    for own in _SIGNING_PARAMS:
        if own.lower() in names:
            raise ConfigurationError(f"params: {own} is presign's own to add; leave it out")
    service, region, host, timestamp = map(_plain, (service, region, host, timestamp))
    found = _asked(lambda: credentials, float("-inf"))
    return _signer(found, service, region, host, params, timestamp[:8], expires)(timestamp)


def _signer(
    credentials: StaticCredentials,
    service: str,
    region: str,
    host: str,
    params: list[tuple[str, str]],
    date: str,
    expires: int,
) -> Callable[[str], str]:
    """A function that presigns for a time of that day; what stays the same until the next day is computed here."""
    scope = f"{date}/{region}/{service}/aws4_request"
    key = signing_key(credentials.secret_key, date, region, service)
    signed = [
        *params,
        ("X-Amz-Algorithm", _ALGORITHM),
        ("X-Amz-Credential", f"{credentials.access_key}/{scope}"),
        ("X-Amz-Date", ""),
        ("X-Amz-Expires", str(int(expires))),
        ("X-Amz-SignedHeaders", "host"),
    ]
    if credentials.token:
        signed.append(("X-Amz-Security-Token", credentials.token))
    encoded = _encoded(signed)  # once, for the canonical query and the URL: it takes longer than the hashes
    # The time goes between the two parts of each. What is encoded holds no "&" and no "=", so only the parameter fits.
    request = _canonical_request(host, _joined(sorted(encoded))).split("&X-Amz-Date=")
    url = f"{host}/?{_joined(encoded)}".split("&X-Amz-Date=")

    def sign(timestamp: str) -> str:
        date_param = f"&X-Amz-Date={timestamp}"
        text = string_to_sign(timestamp, scope, date_param.join(request))
        return f"{date_param.join(url)}&X-Amz-Signature={hmac.digest(key, text.encode(), 'sha256').hex()}"

    return sign


def _canonical_request(host: str, query: str) -> str:
    header = host.lower().removesuffix(":443")
    return f"GET\n/\n{query}\nhost:{header}\n\nhost\n{_EMPTY_PAYLOAD_HASH}"


def _encoded(params: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(uri_encode(name), uri_encode(value)) for name, value in params]


def _joined(encoded: list[tuple[str, str]]) -> str:
    return "&".join([f"{name}={value}" for name, value in encoded])


def _checked_params(params: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    pairs = list(params) if hasattr(params, "__iter__") else None
    if pairs is None or not all(_is_pair(pair) for pair in pairs):  # the keys of a mapping are none
        raise ConfigurationError("params: pairs of name and value, both text, are wanted, like [('Action', 'connect')]")
    return pairs


def _is_pair(pair: object) -> bool:
    return isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(text, str) for text in pair)


def _timestamp(now: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


def _is_timestamp(text: object) -> bool:
    if not isinstance(text, str) or not text.isascii() or len(text) != 16:
        return False
    return text[8] == "T" and text[15] == "Z" and (text[:8] + text[9:15]).isdigit()


# --- arguments ---
#
# No error repeats a value: people paste secrets and whole tokens into the wrong argument.


def _checked_user(service: str, user: str) -> str:
    """The user as both services store it, in lower case.

    https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateUser.html
    https://docs.aws.amazon.com/memorydb/latest/APIReference/API_CreateUser.html
    """
    if not isinstance(user, str) or not user:
        raise ConfigurationError(f"user: the id of a user with IAM authentication is wanted, not {_kind(user)}")
    name = _plain(user)
    if service == "elasticache" and name.lower() == "default":
        raise ConfigurationError("user: ElastiCache's user 'default' cannot log in by IAM; name one of type iam")
    # AWS's own user of serverless caches with a public endpoint is called default.iam-user.
    prefix = "default." if service == "elasticache" and name.lower().startswith("default.") else ""
    own = name[len(prefix) :]
    if not _is_id(own):
        raise ConfigurationError(
            "user: the id of a user is wanted, letters, digits and hyphens, starting with a letter, like 'my-iam-user'"
        )
    return name.lower()


def _checked_name(argument: str, name: str, longest: int | None = None) -> str:
    """The name as both services store it, in lower case.

    https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateReplicationGroup.html
    https://docs.aws.amazon.com/memorydb/latest/APIReference/API_CreateCluster.html
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"{argument}: a name like 'my-{argument}' is wanted, not {_kind(name)}")
    if not set(name).isdisjoint(".:/"):
        wanted = f"the name of the {argument} is wanted, not its endpoint or ARN"
        raise ConfigurationError(f"{argument}: {wanted}{_probable_name(name)}; or use for_endpoint")
    if not _is_name(name):
        raise ConfigurationError(
            f"{argument}: letters, digits and single hyphens, starting with a letter and not ending with a hyphen,"
            f" are wanted, like 'my-{argument}'"
        )
    if longest is not None and len(name) > longest:
        raise ConfigurationError(f"{argument}: at most {longest} characters are wanted, as AWS allows no longer name")
    return _plain(name).lower()


def _is_id(text: str) -> bool:
    return text.isascii() and text[:1].isalpha() and text.replace("-", "").isalnum()


def _is_name(text: str) -> bool:
    return _is_id(text) and "--" not in text and not text.endswith("-")


def _resolved_region(region: str | None) -> str:
    if region is not None:
        return _checked_region("region", region)
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if os.environ.get(variable, "").strip():
            return _checked_region(variable, os.environ[variable].strip())
    raise ConfigurationError("region: one like 'us-east-1' is wanted here, in AWS_REGION or in AWS_DEFAULT_REGION")


def _checked_region(argument: str, region: str) -> str:
    *words, number = region.split("-") if isinstance(region, str) and region.isascii() else [""]
    if len(words) >= 2 and all(word.isalpha() and word.islower() for word in words):
        if number.isdigit():
            return _plain(region)
        if number[:-1].isdigit() and number[-1].isalpha():
            raise ConfigurationError(f"{argument}: a region is wanted; this is an availability zone of {region[:-1]}")
    raise ConfigurationError(f"{argument}: a region is wanted, in lower case, like 'us-east-1'")


def _checked_timeout(timeout: float) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout <= 86400:
        raise ConfigurationError("timeout: a positive number of seconds is wanted, a day at most")
    return timeout


def _checked_key(argument: str, value: str) -> str:
    if _flaw(value):
        raise ConfigurationError(f"{argument}: {_flaw(value)}")
    return _plain(value)


def _flaw(value: object) -> str:
    """What keeps a value from being a key or token, in words; empty if nothing does."""
    if not isinstance(value, str) or not value:
        return f"text is wanted, not {_kind(value)}"
    if not value.isascii() or not value.isprintable() or " " in value:
        return "white space and characters outside ASCII are not part of any key; was a line break pasted with it?"
    return ""


def _epoch(expiration: Any) -> float:
    """Epoch seconds of an expiration as StaticCredentials takes it."""
    if isinstance(expiration, str):
        from datetime import datetime

        moment, zone = expiration[:19], expiration[19:]
        if zone.startswith("."):  # before Python 3.11, only fractions of three or six digits are understood
            zone = zone.lstrip(".0123456789")
        # Python 3.11 and later understand some other forms, PyPy digits that are not ASCII.
        known_form = moment[4::3] == "--T::" and (zone == "Z" or (len(zone) == 6 and zone[0] in "+-"))
        try:
            text = f"{moment}{zone.replace('Z', '+00:00')}" if known_form and expiration.isascii() else ""
            expiration = datetime.fromisoformat(text)
        except ValueError:
            expiration = None
    if getattr(expiration, "tzinfo", None) is not None and hasattr(expiration, "timestamp"):
        expiration = expiration.timestamp()
    if isinstance(expiration, bool) or not isinstance(expiration, (int, float)) or not 0 <= expiration < 253402300800:
        raise ConfigurationError(
            "expiration: epoch seconds, ISO 8601 text with a time zone ('2026-01-02T03:04:05Z'),"
            " or a datetime with a time zone is wanted"
        )
    return float(expiration)


def _utc(epoch: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


def _shortened(access_key: str) -> str:
    """An access key id that can be recognised but not used: AKIA…MPLE."""
    return f"{access_key[:4]}…{access_key[-4:]}" if len(access_key) >= 16 else "…"


def _kind(value: object) -> str:
    return "empty text" if isinstance(value, str) and not value else f"an object of type {type(value).__name__}"


def _plain(text: str) -> str:
    """The text of a str subclass, such as an enum's member, which might format itself as something else."""
    return str.__str__(text)


# --- credential sources ---
#
# Where EnvironmentCredentials finds what the environment promises, and AssumedRole. The protocols are described in
# https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html

_STATIC_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION")
_IDENTITY = (  # all that decides whose credentials are fetched
    *("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
)
_NOTHING_SET = (
    "no credentials: none of AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE,"
    " AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and AWS_CONTAINER_CREDENTIALS_FULL_URI is set"
)
_SIZE_LIMIT = 65536  # bytes of a response or a token file; honest ones take a few thousand
_STATIC_STABILITY = 600  # seconds for which expired keys of instance metadata are used on, which AWS extends meanwhile
_DUAL_STACK_DOMAINS = {  # where not api.aws
    "aws-cn": "api.amazonwebservices.com.cn",
    "aws-iso": "api.aws.ic.gov",
    "aws-iso-b": "api.aws.scloud",
    "aws-eusc": "api.amazonwebservices.eu",
}


class EnvironmentCredentials(RefreshingCredentials):
    """The credentials that the environment provides, by the AWS SDKs' order of sources, files left out.

    Static keys, web identity (EKS IAM roles for service accounts), the container endpoint
    (ECS, Fargate, EKS Pod Identity, Lambda SnapStart), EC2 instance metadata version 2: the
    first source that is configured is used, and an error if it fails; there is no going on
    to the next. Static keys are read at every call; what was fetched is kept and renewed as
    RefreshingCredentials does, apart for each configuration.

    environ: a mapping of variables; os.environ when None.
    region: for STS where the environment names none.
    timeout: the longest wait of a caller, in seconds, a day at most. A retrieval, all its
    attempts included, takes nine tenths of it, if the resolver and the disk let it.

    Calling the object returns a StaticCredentials or raises CredentialsError, which names
    the source, the variable that configured it, and the cause.
    https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
    """

    _modules = (
        *(*RefreshingCredentials._modules, "base64", "datetime", "encodings.idna", "html", "http.client", "json"),
        *("re", "socket", "ssl", "types", "urllib.parse", "urllib.request"),
    )

    def __init__(
        self, environ: Mapping[str, str] | None = None, *, region: str | None = None, timeout: float = 5.0
    ) -> None:
        if environ is not None and not hasattr(environ, "get"):
            raise ConfigurationError(f"environ: a mapping of variables is wanted, not {_kind(environ)}")
        self._given_environ = None if environ is os.environ else environ  # os.environ cannot be pickled
        self._region = region if region is None else _checked_region("region", region)
        super().__init__(self._retrieved, timeout=timeout)

    @property
    def _environ(self) -> Mapping[str, str]:
        return os.environ if self._given_environ is None else self._given_environ

    def _import_ahead(self) -> None:
        if not self._environ.get("AWS_ACCESS_KEY_ID"):
            super()._import_ahead()

    def _at_hand(self, now: float) -> StaticCredentials | None:
        get, session = self._environ.get, self._session
        values = tuple(map(get, _STATIC_KEYS))
        if not values[2]:
            values += (get("AWS_SECURITY_TOKEN"),)  # the session token's old name
        known, credentials = session.static
        if values != known:
            credentials = _static_keys(values)
            session.static = (values, credentials)
        if credentials is not None:
            return _unexpired(credentials, now, "static keys (AWS_ACCESS_KEY_ID): AWS_CREDENTIAL_EXPIRATION says that ")
        configuration = tuple(map(get, _IDENTITY))
        if configuration != session.configuration:
            # One for all who see the change, since setdefault is atomic; what belonged to the other identity is let go.
            self._session = session.successors.setdefault(configuration, _Session(configuration))
        return super()._at_hand(now)

    def _source(self) -> str:
        return _configured_source(_settings(self._environ))[0]

    def _retrieved(self) -> StaticCredentials:
        environ = _settings(self._environ, self._region)
        asked_for = _settings(dict(zip(_IDENTITY, self._session.configuration)))
        if {name: environ[name] for name in _IDENTITY if name in environ} != asked_for:
            raise CredentialsError("credentials: the environment was changed while they were asked for")
        return _retrieved_from(*_configured_source(environ), environ, self._timeout)


class AssumedRole(RefreshingCredentials):
    """The credentials of a role, for a cache in another account, got from STS with credentials of one's own.

    role_arn: "arn:aws:iam::123456789012:role/name". session_name: what CloudTrail shows,
    "iamcacheauth" when None. external_id: the one that the role's trust policy demands.
    duration: of a session, in seconds, from 900 to 43200; the role's maximum limits it, and
    it is 3600 at most where the base credentials are a role's themselves.
    region: of STS; None means AWS_REGION, AWS_DEFAULT_REGION, else the global endpoint.
    credentials: what signs the request, in any form that a generator takes.
    timeout: the longest wait of a caller, in seconds, a day at most.

    Kept and renewed as RefreshingCredentials does. Calling the object returns a
    StaticCredentials or raises CredentialsError; a malformed argument is a ConfigurationError.
    https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
    """

    _modules = EnvironmentCredentials._modules

    def __init__(
        self,
        role_arn: str,
        *,
        session_name: str | None = None,
        external_id: str | None = None,
        duration: int = 3600,
        region: str | None = None,
        credentials: _CredentialsArgument = None,
        timeout: float = 5.0,
    ) -> None:
        if isinstance(duration, bool) or not isinstance(duration, int) or not 900 <= duration <= 43200:
            raise ConfigurationError("duration: seconds from 900 to 43200 are wanted")
        role = r"arn:[a-z-]+:iam::\d{12}:role/[!-~]+", "one like 'arn:aws:iam::123456789012:role/name'"
        session = r"[\w+=,.@-]{2,64}", "text of 2 to 64 letters, digits and +=,.@-"
        self._params = {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": _checked_form("role_arn", role_arn, *role),
            "RoleSessionName": _checked_form("session_name", session_name or "iamcacheauth", *session),
            "DurationSeconds": str(int(duration)),
        }
        if external_id is not None:
            secret = r"[\w+=,.@:/-]{2,1224}", "text of 2 to 1224 letters, digits and +=,.@:/-"
            self._params["ExternalId"] = _checked_form("external_id", external_id, *secret)
        self._region = region if region is None else _checked_region("region", region)
        self._base = _provider_for(credentials, self._region, timeout)
        super().__init__(self._assumed, timeout=timeout)

    def _source(self) -> str:
        return f"role {self._params['RoleArn']}"

    def _assumed(self) -> StaticCredentials:
        return _retrieved_from(self._source(), self._from_sts, _settings(os.environ, self._region), self._timeout)

    def _from_sts(self, environ: _Settings, deadline: float) -> StaticCredentials:
        url = _presigned_for_sts(self._base(), self._params, environ)
        hints = {
            "AccessDenied": "; its trust policy has to name this identity, whose own has to allow sts:AssumeRole",
            "DurationSeconds": "; no more than the role's maximum session duration, and 3600 from role to role",
        }
        return _from_sts(("GET", url, {}, None), _secrets_in(url), environ, deadline, hints)


def _checked_form(argument: str, value: str, form: str, wanted: str) -> str:
    import re

    if not isinstance(value, str) or not re.fullmatch(form, value, re.ASCII):
        raise ConfigurationError(f"{argument}: {wanted} is wanted")
    return _plain(value)


def _settings(environ: Mapping[str, Any], region: str | None = None) -> dict[str, str]:
    """The variables that are set, without white space around them, which header values are not to hide.

    region: the one where they name none.
    """
    settings = {}
    for name in list(environ):  # from which other threads may take variables away meanwhile
        text = environ.get(name)
        if isinstance(text, str) and text.strip():
            settings[name] = text if name == "AWS_CONTAINER_AUTHORIZATION_TOKEN" else text.strip()
    if region and "AWS_DEFAULT_REGION" not in settings:
        settings.setdefault("AWS_REGION", region)
    return settings


def _is_on(variable: str, environ: _Settings) -> bool:
    return environ.get(variable, "").lower() == "true"


def _retrieved_from(source: str, retrieve: _Retrieve, environ: _Settings, timeout: float) -> StaticCredentials:
    """What ``retrieve`` returns; its errors with the source's name before them."""
    try:
        found = retrieve(environ, time.monotonic() + _FETCH_SHARE * timeout)
        return _unexpired(found, time.time(), "it gave credentials, but ")
    except (Error, ImportError, LookupError) as error:  # where a module is missing, or the encoding of host names
        raise CredentialsError(f"{source}: {error}") from error


def _static_keys(values: tuple[Any, ...]) -> StaticCredentials | None:
    """The credentials in the variables of _STATIC_KEYS, which have these values; None if there are none."""
    found = _settings(dict(zip((*_STATIC_KEYS, "AWS_SECURITY_TOKEN"), values)))
    missing = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} - found.keys()
    if len(missing) == 2:
        return None
    if missing:
        raise CredentialsError(f"static keys: {missing.pop()} is not set, but the other one of the two keys is")
    variables = {
        "access_key": "AWS_ACCESS_KEY_ID",
        "secret_key": "AWS_SECRET_ACCESS_KEY",
        "token": "AWS_SESSION_TOKEN" if "AWS_SESSION_TOKEN" in found else "AWS_SECURITY_TOKEN",
        "expiration": "AWS_CREDENTIAL_EXPIRATION",
    }
    try:
        return StaticCredentials(*map(found.get, variables.values()))  # type: ignore[arg-type]
    except ConfigurationError as error:
        argument, _, reason = str(error).partition(": ")
        raise CredentialsError(f"static keys: {variables[argument]}: {reason}") from None


def _configured_source(environ: _Settings) -> tuple[str, _Retrieve]:
    """What the first source that these variables configure is called, and what asks it."""
    for variable, name, retrieve in (
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "web identity", _from_web_identity),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "container credentials", _from_container),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "container credentials", _from_container),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "EC2 instance metadata", _from_instance_metadata),
    ):
        if variable in environ:
            return f"{name} ({variable})", retrieve
    return "EC2 instance metadata", _from_instance_metadata


def _from_web_identity(environ: _Settings, deadline: float) -> StaticCredentials:
    """Exchange the token in a file, which rotates, for credentials of a role.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
    """
    role = environ.get("AWS_ROLE_ARN")
    session = environ.get("AWS_ROLE_SESSION_NAME") or f"iamcacheauth-{int(time.time())}"
    if not role:
        raise CredentialsError("AWS_ROLE_ARN is not set")
    if _flaw(role + session):
        raise CredentialsError("AWS_ROLE_ARN or AWS_ROLE_SESSION_NAME holds white space or characters outside ASCII")
    token = _token_in_file("AWS_WEB_IDENTITY_TOKEN_FILE", environ).strip()
    if _flaw(token):
        raise CredentialsError("the file holds no token, or more than one line")
    params = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": session,
        "WebIdentityToken": token,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    request = ("POST", _sts_endpoint(environ), headers, canonical_query(params.items()))
    return _from_sts(request, token, environ, deadline, {})


def _from_sts(
    request: _Request, secrets: str, environ: _Settings, deadline: float, hints: dict[str, str]
) -> StaticCredentials:
    way_out = " (from a subnet without a way out, STS takes a VPC endpoint)"
    answer = _answer(request, environ, deadline, secrets=secrets, hints=hints, unanswered=way_out, through_proxy=True)
    return _credentials_from(answer, secrets, "SessionToken")


def _presigned_for_sts(credentials: StaticCredentials, params: dict[str, str], environ: _Settings) -> str:
    """The URL of a request to STS."""
    scheme, _, host = _sts_endpoint(environ).rstrip("/").partition("://")
    if "/" in host or "?" in host:
        raise CredentialsError("AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL: a URL without a path is wanted")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    now = _timestamp(time.time())
    url = presign(credentials, service="sts", region=region, host=host, params=params.items(), timestamp=now)
    return f"{scheme}://{url}"


def _secrets_in(presigned: str) -> str:
    """The session token, if there is one, and the signature of what presign() made."""
    import re

    return " ".join(re.findall("X-Amz-(?:Security-Token|Signature)=([^&]+)", presigned, re.IGNORECASE))


def _sts_endpoint(environ: _Settings) -> str:
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html, …/feature-endpoints.html"""
    if not _is_on("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", environ):
        for variable in ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"):
            if variable in environ:
                return _checked_url(variable, environ[variable])
    variable = "AWS_REGION" if "AWS_REGION" in environ else "AWS_DEFAULT_REGION"
    if variable not in environ:
        return "https://sts.amazonaws.com"
    region = _checked_region(variable, environ[variable])
    partition, domain = _partition(region)
    fips, dual_stack = _is_on("AWS_USE_FIPS_ENDPOINT", environ), _is_on("AWS_USE_DUALSTACK_ENDPOINT", environ)
    # GovCloud's ordinary endpoint is its FIPS endpoint: https://docs.aws.amazon.com/general/latest/gr/sts.html
    name = "sts-fips" if fips and (dual_stack or partition != "aws-us-gov") else "sts"
    return f"https://{name}.{region}.{_DUAL_STACK_DOMAINS.get(partition, 'api.aws') if dual_stack else domain}"


def _from_container(environ: _Settings, deadline: float) -> StaticCredentials:
    """Ask the endpoint that ECS, Fargate, EKS Pod Identity or Lambda SnapStart runs beside the container.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
    """
    path = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    if path is None:
        url = _checked_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
    elif path.startswith("/"):
        url = _checked_url("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", f"http://169.254.170.2{path}")
    else:
        raise CredentialsError("a path that starts with a slash is wanted")
    variable = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
    if variable in environ:
        authorization = _token_in_file(variable, environ)
    else:
        variable = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
        authorization = environ.get(variable, "")
    if not authorization.isascii() or not authorization.isprintable():
        raise CredentialsError(f"{variable}: line breaks and characters outside ASCII cannot go into a header")
    headers = {"Accept": "application/json"}
    if authorization:
        headers["Authorization"] = authorization
    answer = _answer(("GET", url, headers, None), environ, deadline, seconds=2, secrets=authorization)
    return _credentials_from(answer, authorization, "Token")


def _from_instance_metadata(environ: _Settings, deadline: float) -> StaticCredentials:
    """Ask EC2's instance metadata service, version 2: a session token first, then the role, then its keys.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
    """
    for profile in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        if profile in environ:  # whose identity is meant, which the instance's is not
            export = 'eval "$(aws configure export-credentials --format env)"'
            raise CredentialsError(f"{_NOTHING_SET}; {profile} is, but profiles are not read: {export} sets its keys")
    if _is_on("AWS_EC2_METADATA_DISABLED", environ):
        raise CredentialsError(f"{_NOTHING_SET}, and AWS_EC2_METADATA_DISABLED rules this out")
    mode = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv4").lower()
    usual = {"ipv4": "http://169.254.169.254", "ipv6": "http://[fd00:ec2::254]"}.get(mode)
    endpoint = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", usual)
    if endpoint is None:
        raise CredentialsError("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: ipv4 or ipv6 is wanted")
    endpoint = _checked_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint, anywhere=True).rstrip("/")
    limits = []
    for variable in ("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "AWS_METADATA_SERVICE_TIMEOUT"):
        text = environ.get(variable, "1")
        if not (text.isascii() and text.isdigit() and len(text) < 5 and int(text) > 0):
            raise CredentialsError(f"{variable}: a whole number from 1 to 9999 is wanted")
        limits.append(int(text))

    def ask(method: str, path: str, header: str, value: str, **options: Any) -> Any:
        request = (method, f"{endpoint}/latest/{path}", {f"X-aws-ec2-metadata-{header}": value}, None)
        return _answer(request, environ, deadline, attempts=limits[0], seconds=limits[1], secrets=value, **options)

    hop = " (from inside a container, the instance's metadata hop limit must be 2 or more)"
    hints = {} if "AWS_EC2_METADATA_SERVICE_ENDPOINT" in environ else {"": f"; {_NOTHING_SET}"}
    token = ask("PUT", "api/token", "token-ttl-seconds", "21600", parsed=_one_word, unanswered=hop, hints=hints)
    roles, hints = "meta-data/iam/security-credentials/", {"HTTP status 404$": "; the instance has no role"}
    role = ask("GET", roles, "token", token, parsed=_one_word, hints=hints)
    answer = ask("GET", f"{roles}{role}", "token", token)  # the SDKs do not encode the role's name either
    found = _credentials_from(answer, token, "Token")
    # "Static stability": https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html
    expiration = max(found.expiration or 0, time.time() + _STATIC_STABILITY)
    return StaticCredentials(found.access_key, found.secret_key, found.token, expiration)


def _token_in_file(variable: str, environ: _Settings) -> str:
    try:
        with open(environ[variable], "rb") as file:
            content = file.read(_SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its path is malformed"
        # Not from the error, which quotes the path: by mistake, that may be the token itself.
        raise CredentialsError(f"{variable}: its file cannot be read: {reason}") from None
    if not 0 < len(content) <= _SIZE_LIMIT:
        raise CredentialsError(f"{variable}: its file is {'too large' if content else 'empty'}")
    return content.decode("latin-1")  # every byte has a meaning in it; what is not ASCII is refused later


# What is made of a body: empty if it is not what was asked for.


def _one_word(body: bytes) -> str:
    word = body.decode("latin-1").strip()
    return "" if _flaw(word) else word


def _fields(body: bytes) -> dict[str, Any]:
    """What is in a JSON object, or in those elements of STS's XML that hold text alone, under their names."""
    import html
    import json
    import re

    text = body.decode("utf-8", "replace").strip()
    if re.fullmatch(r"(<\?[^>]*>)?\s*<(?!(?i:html))(\w+)[\s>].*</\2>", text, re.DOTALL):
        return {name: html.unescape(content) for name, content in re.findall(r"<(\w+)>([^<]*)</\1>", text)}
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _credentials_from(answer: dict[str, Any], sent: str, token_field: str) -> StaticCredentials:
    """The credentials in an answer; sent: the secrets that no error may repeat, besides those in the answer."""
    fields = ("AccessKeyId", "SecretAccessKey", token_field, "Expiration")
    if answer.get("Code", "Success") != "Success":
        secrets = " ".join([sent, *(str(answer.get(field)) for field in ("Token", "SessionToken", *fields))])
        raise CredentialsError(f"its answer has the Code {_reason_in(answer, secrets)}, not Success")
    for field in fields:
        if not isinstance(answer.get(field), str) or not answer[field]:
            raise CredentialsError(f"its answer has no {field}")
    try:
        return StaticCredentials(*(answer[field] for field in fields))
    except ConfigurationError as error:
        raise CredentialsError(f"its answer is malformed: {error}") from error


# --- HTTP ---
#
# Metadata endpoints hand out keys, and are asked while somebody waits for a connection. So: no proxy but for STS, no
# redirect, and an end to everything by a deadline, which is a time of time.monotonic(). Only looking up a name and
# reading a file may take longer: their callers wait no longer for that.


class _TemporaryError(CredentialsError):
    """A failure that another attempt may mend: throttling, the network's, or the server's own."""


# https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html, and STS's own
_TEMPORARY_CODES = (
    *("Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException"),
    *("TooManyRequestsException", "RequestLimitExceeded", "RequestTimeout", "RequestTimeoutException", "SlowDown"),
    *("PriorRequestNotComplete", "TransactionInProgressException", "IDPCommunicationError"),
)


def _answer(
    request: _Request,
    environ: _Settings,
    deadline: float,
    *,
    parsed: Callable[[bytes], Any] = _fields,
    attempts: int = 3,
    seconds: float | None = None,
    secrets: str = "",
    hints: Mapping[str, str] = {},
    unanswered: str = "",
    through_proxy: bool = False,
) -> Any:
    """What ``parsed`` makes of the body of the first answer with status 200.

    attempts: how often to ask, as long as failures are temporary; the pause before the next
    is random, so that a fleet does not ask again all at once, and doubles. seconds: the limit
    of one attempt; None for an even share of what is left. secrets: what was sent and no
    error may repeat. hints: what to add to an error in which a regular expression is found, by
    that expression. unanswered: what to add where there was no answer.
    """
    import re
    from urllib.parse import urlsplit

    pause = 0.5
    while True:
        now = time.monotonic()
        try:
            end = min(deadline, now + (seconds or (deadline - now) / attempts))
            status, _, body = _exchange(request, environ, end, unanswered, through_proxy=through_proxy)
            if status != 200:
                raise _refusal(status, body, secrets)
            answer = parsed(body)
            if not answer:
                raise _TemporaryError("its answer is empty or malformed")
            return answer
        except CredentialsError as error:
            attempts -= 1
            delay = pause * _random()
            if not isinstance(error, _TemporaryError) or attempts == 0 or time.monotonic() + delay >= deadline:
                hint = "".join(hint for form, hint in hints.items() if re.search(form, str(error)))
                raise CredentialsError(f"{urlsplit(request[1]).netloc}: {error}{hint}") from error.__cause__
        time.sleep(delay)
        pause *= 2


def _refusal(status: int, body: bytes, secrets: str) -> CredentialsError:
    """The error for an answer of another status than 200, with the server's own reason."""
    said = _fields(body)
    reason = _reason_in(said, secrets)
    line = body.decode("utf-8", "replace").strip().partition("\n")[0]
    if " " in line and not line.startswith(("<", "{")):  # the Pod Identity agent writes plain text; a word may be a key
        reason = _safe(line, secrets)
    text = f"HTTP status {status}" + (f", {reason}" if reason else "")
    if 300 <= status < 400:
        text += "; redirects are not followed"
    if status == 407:
        text += "; it wants a login, as in http://user:password@host:port"
    temporary = status == 429 or status >= 500 or (said.get("Code") or said.get("code")) in _TEMPORARY_CODES
    return _TemporaryError(text) if temporary else CredentialsError(text)


def _reason_in(answer: dict[str, Any], secrets: str) -> str:
    """Code and message of an error, in whichever capitals services write them."""
    found = (answer.get(name) or answer.get(name.lower()) for name in ("Code", "Message"))
    return _safe(": ".join(str(text) for text in found if text), secrets)


def _safe(text: str, secrets: str = "") -> str:
    """Somebody else's text made fit for a line of ours: without control characters, and up to where a secret begins.

    secrets: what must not be repeated, eight characters of it in a row, percent-encoded once,
    twice or not; anything that looks like a key must not either.
    """
    import re
    from urllib.parse import unquote

    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())[:340]
    secrets = f"{secrets} {unquote(secrets)} {unquote(unquote(secrets))}"
    ends = [start for start in range(len(text) - 7) if text[start : start + 8] in secrets]
    # a key of AWS's, its id, how web tokens and session tokens begin, and what stands before them
    like_keys = (
        r"[A-Za-z0-9/+=%\\]{40}|A[KS]IA[A-Z0-9]{12}|(eyJ|AQ|IQo|Fwo)[\w/+=-]{16}|[\x22<]\w*(AccessKey|Token)[\x22>]"
    )
    ends += [key.start() for key in re.finditer(like_keys, text)]
    end = min(ends, default=300)
    return f"{text[:end]}…" if end < 300 else text[:300]


def _exchange(
    request: _Request, environ: _Settings, deadline: float, unanswered: str = "", *, through_proxy: bool = False
) -> tuple[int, HTTPMessage, bytes]:
    """One exchange: the response's status, headers and body."""
    from http.client import HTTPException
    from urllib.parse import urlsplit

    method, url, headers, body = request
    parts = urlsplit(url)
    secure, host = parts.scheme == "https", parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    place = parts.netloc if parts.port else f"{parts.netloc}:{port}"
    context = _tls_context("AWS_CA_BUNDLE", environ.get("AWS_CA_BUNDLE")) if secure else None
    proxy = _proxy_for(place, environ) if secure and through_proxy else None
    via = f"through the proxy {proxy[0]}:{proxy[1]}: " if proxy else ""
    try:
        connection = _connect(_resolved(*(proxy[:2] if proxy else (host, port))), deadline)
        try:
            if proxy:  # https://www.rfc-editor.org/rfc/rfc9110#name-connect
                with _response(connection, deadline, "CONNECT", place, {"Host": place, **proxy[2]}) as response:
                    if response.status != 200:
                        raise _refusal(response.status, b"", "")
            if context:
                connection.settimeout(_left(deadline))
                connection = context.wrap_socket(connection, server_hostname=host)
            target = url.partition(parts.netloc)[2] or "/"
            headers = {"Host": parts.netloc, **headers, "Connection": "close"}
            with _response(connection, deadline, method, target, headers, body) as response:
                content = response.read(_SIZE_LIMIT + 1)
                if len(content) > _SIZE_LIMIT:
                    raise CredentialsError(f"its answer is larger than {_SIZE_LIMIT} bytes")
                if response.length:
                    raise _TemporaryError("the connection was closed in the middle of its answer")
                return response.status, response.headers, content
        finally:
            connection.close()
    except CredentialsError as error:
        raise type(error)(f"{via}{error}") from error.__cause__
    except OSError as error:
        if hasattr(error, "verify_message"):  # another attempt would see the same certificate
            raise CredentialsError(f"{via}{_reason(error)}") from error
        answered = via or hasattr(error, "reason")  # which TLS's failures have: somebody did
        raise _TemporaryError(f"{via}{_reason(error)}{'' if answered else unanswered}") from error
    except (ValueError, HTTPException) as error:  # not as the cause: it may quote what was sent
        raise _TemporaryError(f"{via}no HTTP answer ({type(error).__name__})") from None


def _response(
    connection: socket, deadline: float, method: str, target: str, headers: dict[str, str], body: str | None = None
) -> HTTPResponse:
    """Ask for a response; each read of it ends by the deadline, however slowly bytes arrive."""
    from http.client import HTTPConnection
    from types import SimpleNamespace

    client: Any = HTTPConnection("")
    client.sock = SimpleNamespace(
        sendall=connection.sendall, makefile=lambda mode: _file_until(deadline, connection), close=lambda: None
    )
    connection.settimeout(_left(deadline))
    client.request(method, target, body, headers)
    response: HTTPResponse = client.getresponse()
    return response


def _proxy_for(place: str, environ: _Settings) -> tuple[str, int, dict[str, str]] | None:
    """Host and port of the proxy to reach this place through, and the headers it takes; None if there is to be none."""
    from base64 import b64encode
    from urllib.parse import unquote, urlsplit
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

    url = environ.get("https_proxy") or environ.get("HTTPS_PROXY")
    if not url or proxy_bypass_environment(place, {"no": environ.get("no_proxy") or environ.get("NO_PROXY") or ""}):
        return None
    try:
        proxy = urlsplit(url if "://" in url else f"http://{url}")
        if proxy.scheme == "http" and proxy.hostname and not _flaw(url):
            login = unquote(f"{proxy.username}:{proxy.password or ''}").encode()
            header = {"Proxy-Authorization": f"Basic {b64encode(login).decode()}"} if "@" in proxy.netloc else {}
            return proxy.hostname, proxy.port or 80, header
    except ValueError:
        pass
    raise CredentialsError("HTTPS_PROXY: a proxy like http://host:port is wanted")


def _checked_url(variable: str, url: str, *, anywhere: bool = False) -> str:
    """``url``, if it may be asked for keys: https anywhere, plain http only on this machine and its agents."""
    import re

    form = r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?(?:[/?][!-~]*)?"
    found = re.fullmatch(form, url, re.IGNORECASE | re.ASCII)
    if not found or int(found[3] or 0) > 65535:
        raise CredentialsError(f"{variable}: a URL that starts with http:// or https:// is wanted, without a user")
    here = r"localhost|127(\.\d{1,3}){3}|\[::1\]|169\.254\.170\.23?|\[fd00:ec2::23\]"
    if len(found[1]) == 4 and not (anywhere or re.fullmatch(here, found[2], re.IGNORECASE)):
        raise CredentialsError(f"{variable}: https is wanted; plain http only goes to this machine or its agents")
    return url


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _resolved(host: str, port: int) -> list[Any]:
    import socket

    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _connect(addresses: list[Any], deadline: float) -> socket:
    """A connection to the first of the addresses that answers, each given an even share of the time."""
    import socket

    failure = OSError()
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        connection = None
        try:
            connection = socket.socket(family, kind, protocol)  # fails where the kernel has no IPv6, though names do
            connection.settimeout(_left(deadline) / (len(addresses) - tried))
            connection.connect(address)
            return connection
        except OSError as error:
            failure = error
            if connection is not None:
                connection.close()
    raise failure


def _tls_context(setting: str, ca_file: str | None) -> SSLContext:
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise ConfigurationError(f"{setting}: a file of PEM certificates is wanted: {_reason(error)}") from error


def _file_until(deadline: float, connection: socket) -> BufferedReader:
    """The connection as a file, each read of which ends by the deadline."""
    import io

    class Reader(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            connection.settimeout(_left(deadline))
            return connection.recv_into(buffer)

    return io.BufferedReader(Reader())


# By their names: a Python without OpenSSL has no module ssl to have them from.
_CLOSED = ("SSLEOFError", "SSLZeroReturnError", "ConnectionResetError", "RemoteDisconnected", "BrokenPipeError")


def _reason(error: OSError) -> str:
    """A failure of the network or of a file in a few words, without anything that the other side sent."""
    kind = type(error).__name__
    if kind in ("timeout", "TimeoutError"):
        return "no complete answer in time"
    if kind == "gaierror":
        return "the host name does not resolve"
    if kind in _CLOSED:
        return "the connection was closed"
    untrusted, tls_reason = getattr(error, "verify_message", None), getattr(error, "reason", "")
    if untrusted:
        return f"the certificate is not trusted: {untrusted}"
    if tls_reason != "":  # but None, where OpenSSL has a newer one than Python knows
        return f"TLS failed: {(tls_reason or 'unknown reason').lower().replace('_', ' ')}"
    if error.errno:
        return error.strerror or os.strerror(error.errno)  # PyPy leaves some out
    return f"the connection failed ({kind})"


# --- commands: from here on the file may be cut off ---
#
# A refused login is always the same WRONGPASS. explain reads a token and says what it claims and what is wrong
# with it; check goes all the way to the cache and says what may have stopped it there. Both say it in the words of
# one table of causes. What others wrote reaches the terminal only through _safe, in which no secret gets through.

__all__ += ["main"]

_CLOCK_TOLERANCE = 300  # seconds; AWS takes signatures from a little way into the future
_SERVICES = {"elasticache": "ElastiCache", "memorydb": "MemoryDB"}
_KEY_KINDS = {"AKIA": "permanent", "ASIA": "temporary", "AIDA": "a user's, no key's", "AROA": "a role's, no key's"}
_TOKEN_FORM = "One reads NAME/?Action=connect&User=USER&X-Amz-Algorithm=…, NAME being the cache's own name."
_PARAM_FORMS = {  # what every token has: the form as a regular expression, and in words
    "Action": ("connect", "connect"),
    "User": (r"\S+", "one word"),
    "X-Amz-Algorithm": (_ALGORITHM, _ALGORITHM),
    "X-Amz-Credential": (r"([^/]+/){4}aws4_request", "KEY/DATE/REGION/SERVICE/aws4_request"),
    "X-Amz-Date": ("[0-9]{8}T[0-9]{6}Z", "a time like 20260102T030405Z"),
    "X-Amz-Expires": ("[0-9]{1,9}", "a number of seconds"),
    "X-Amz-SignedHeaders": ("host", "host"),
    "X-Amz-Signature": ("[0-9a-f]{64}", "64 hexadecimal digits in small letters"),
}
# What was seen, as a regular expression, => what it means or may have been caused by, the likeliest first. Of check, it
# is the step, where the endpoint is (aws, public, other, or named by --server-name), and what was said. Of a finding, a
# name and what was found, it is the name, and what was found is {found}.
_CAUSES = r"""
JSON => It is a value in JSON. Pass on the value alone, without its quotes.
variable => A variable is set to it. Pass on the value alone, without the name, '=' and quotes.
key => It stands behind a key and a colon, as in YAML. Pass on the value alone.
URL => It is the password in a URL, which outlives it and may end at its first '/'. Give it to the client apart.
encoded => All of it is percent-encoded, as for a URL. Pass it on as it was made.
base64 => All of it is base64. Pass it on as it was made.
words => There are other words around it. Pass on the token alone.
white space => It holds white space or a line break. Pass it on as one word.
quotes => It is wrapped in quotes. Remove them: they are not part of it.
HTML => Each '&' is written as in HTML, &amp;. Pass it on as it was made.
escaped => Each '&' is written as in JSON, \u0026. Pass it on as it was made.
scheme => It starts with a scheme. Remove everything up to and including '://'.
missing => Missing: {found}. Pass on all of it; in a shell, in quotes.
twice => There twice: {found}. Sign anew, with each parameter once.
capitals => Not written with AWS's capitals: {found}. Sign anew, with the names as AWS writes them.
stray % => A '%' that encodes nothing: {found}. Pass the token on as it was made.
double encoding => Percent-encoded twice: {found}. Pass the token on as it was made.
plus => A '+', which stands for a space: {found}. Pass the token on as it was made.
malformed => {found}. Sign anew, and pass on all of it.
text: .*AWS4-HMAC-SHA256 ?Credential= => This is an Authorization header, which is for one HTTP request. A login takes
        a presigned URL: make one with the token command.
text: .*([?&]DBUser=|(/|%2F)rds-db(/|%2F)) => This is a token for a database of RDS. Make one with the token command.
text: .*(Action=DbConnect|(/|%2F)dsql(/|%2F)) => This is a token for Aurora DSQL. Make one with the token command.
text: .*Action=kafka-cluster => This is a token for Kafka (MSK). Make one with the token command.
text: [!-%'-<>@-~]{1,200}$ => This is a password, a key or a piece of a token, not an IAM authentication token. Users of
        type iam have no password: make a token with the token command.
text => This is not an IAM authentication token. {form}
nothing => Nothing is wrong with what it says. The rest only the service knows: run check.
service => It is signed for another service. Sign for elasticache or memorydb.
no ResourceType => MemoryDB knows no ResourceType, as nothing there is serverless. Leave it out.
ResourceType => ResourceType is misspelt. It is ResourceType=ServerlessCache, or not there at all.
spelling => The signature is right, for another spelling of the start. Write it as it was signed:
        {found}Action=connect&…
endpoint => It is signed for an endpoint. Sign for the {found}.
start => It does not start with the {found}'s name and '/?'. {form}
impossible => No token can be for this {found}.
upper case => The {found} has capitals. AWS keeps it in lower case: sign for that.
no key => The access key id is {found}. Sign with a key, whose id starts with AKIA or ASIA.
lost => A temporary key (ASIA) signed it without its session token. Set AWS_SESSION_TOKEN as well.
left over => A permanent key (AKIA) signed it with a session token. Unset AWS_SESSION_TOKEN.
other session => Its session token is not that of this environment, though the key is: it was cut or changed on the way.
mistake => It was signed {found}.
lifetime => Its lifetime, X-Amz-Expires, is not from 1 to 900 seconds. Sign with 900.
dates => X-Amz-Credential and X-Amz-Date differ in the date. Sign with one time, in UTC.
no time => X-Amz-Date is no time there is. Sign anew.
expired => It expired {found} ago. Sign a new one for every connection.
early => It is not valid yet. Set the clock of the machine that signed it, or of this one.
local time => Its time is {found} h off. If it was just made, local time was taken for UTC. Sign with the time in UTC.
parameters => It has parameters that no token has. Sign without them.
credentials => To use a profile or SSO: eval "$(aws configure export-credentials --format env)"
profile => {found} is set, and is not read: the credentials are those above. To use the profile instead:
        eval "$(aws configure export-credentials --format env)"
connect public: .*resolve => The endpoint is mistyped, or its cache was deleted: compare it with the console.
connect .*resolve => The endpoint is mistyped, or belongs to a cache that was deleted: compare it with the console.
    This machine's resolver does not know AWS's private names: is it in the cache's VPC, with DNS support on?
connect .*refused => Nothing listens on this port: caches use 6379 unless configured otherwise, serverless also 6380.
connect public => A firewall between here and the internet drops connections to this port: it has to let them out.
    This machine has no way to the internet, as in a private subnet without a NAT gateway.
connect => The cache's security group does not let this machine in: it needs an inbound rule for this port.
    This machine is outside the cache's VPC, without peering or a VPN: caches have private addresses.
    A network ACL, a route table or this machine's own security group drops the packets.
tls .*not trusted: .*(expired|not yet) => This machine's clock is wrong, or the certificate was not renewed in time.
    Something between here and the cache answers in its place.
tls other: .*mismatch => The endpoint is an alias, an address or a tunnel, which the certificate does not name: use the
        endpoint that AWS shows or, through a tunnel, add --server-name with it.
    Something between here and the cache answers in its place.
tls .*mismatch => What answers is another cache: compare the host name with the console, and what it resolves to.
    Something between here and the cache answers in its place.
tls .*not trusted => This machine does not trust Amazon's root certificates: install ca-certificates, or give
        --ca-file.
    Something between here and the cache answers in its place.
tls (other|named): .*plaintext => A proxy or tunnel there (stunnel, a sidecar) speaks TLS with the cache itself:
        clients log in through it without TLS, and check takes the cache's own endpoint.
    Encryption in transit is off for this cache, and IAM needs it: turn it on, which works in place.
    This is another server, or another port, than the cache's TLS port.
tls .*plaintext => Encryption in transit is off for this cache, and IAM needs it: turn it on, which works in place.
    This is another server, or another port, than the cache's TLS port.
tls public: .*TLS failed => A public endpoint, of a serverless cache with Valkey 9, takes TLS 1.3 only, which this
        Python or something between here and the cache does not speak.
    What answers is not ElastiCache: compare host and port with the console.
tls|(auth|ping) \w+: no answer => What answers is not ElastiCache or MemoryDB: compare host and port with the console.
    Something between here and the cache cuts or changes connections.
.*: ERR service is not available => IAM is down, logins are throttled, or the engine is overloaded, which this answer
        does not tell apart: log in less often, after growing pauses, and look at the metric {metric} and the AWS
        Health Dashboard.
.*: ERR IAM Authentication service is not => IAM is down: log in again after growing pauses, and look at the AWS Health
        Dashboard. A connection whose renewed login gets this goes on until its 12 hours are over.
.*: ERR Exceeded limit of IAM Auth => There are too many logins: keep connections, log in less often, after growing
        pauses, and look at the metric {metric}. A connection whose renewed login gets this goes on until its 12 hours
        are over.
.*: NOPERM => The login worked, but the user's access string does not allow this command, which is no fault of IAM.
.*: NOAUTH => The server forgot the login: something between here and the cache changes connections.
.*: MOVED => This is a node of a cluster that sends clients elsewhere: use the configuration endpoint.
.*: ERR wrong number => The server knows no users, as Redis before version 6: it is another server, or an old one.
auth|ping => The server does not take this {command}, and says why.
cluster => a cluster: use a cluster client (RedisCluster); keys of one command have to share a slot (else CROSSSLOT),
        and there is no database but 0
clock => This machine's clock is wrong{by}: set it, or run a time service.
STS ExpiredToken => The credentials have expired: get new ones. A token lives no longer than what it was signed with.
STS InvalidClientTokenId => AWS does not know these keys: they were deleted or switched off, or the session token is
        missing or belongs to others.
STS SignatureDoesNotMatch => The secret key does not belong to the access key: copy the pair anew.
doubt: service => The endpoint is one of {endpoint.service}: use check {endpoint.service}.
doubt: serverless => The endpoint is of a serverless cache: add --serverless.
doubt: not serverless => The endpoint is not of a serverless cache: leave out --serverless.
doubt: name => The endpoint is that of {endpoint.name}, but the token is signed for {generator.name}.
doubt: region => The endpoint is in {endpoint.region}, but the token is signed for {generator.region}.
doubt: flaw => The endpoint will not do: {found}.
refused: untold => STS has not told whose credentials these are, nor whether this machine's clock is wrong (it says
        {now}), or the keys or their session have expired, were deleted or do not belong together. Compare the clock
        with another; get new keys, or try these with 'aws sts get-caller-identity' where there is a way out.
refused: unknown => IAM does not let the identity behind these credentials connect: its policy has to allow
        {service}:Connect on both {cache} and {user}.
refused: known => IAM does not let {who} connect: attach the policy below to it.
refused: public => User {name} is not in the cache's user group (default.iam-user-group, with the user default.iam-user,
        unless another was chosen), or is not of type iam. See: aws elasticache describe-users --user-id {name}
refused: elasticache => User {name} is not in the cache's user group, is not of type iam, is off, or has a user name
        that differs from its id. See: aws elasticache describe-users --user-id {name}
refused: memorydb => User {name} is not in the cluster's ACL, is not of type iam, or is off. See: aws memorydb
        describe-users --user-name {name}
refused: account => The {kind} is in another account than {account}, this identity's, and only roles of that account can
        log in: assume one (--role-arn; AssumedRole in Python). The policy then needs its account, and belongs to it.
refused: alias => The endpoint is an alias, so it does not show whether name, region and --serverless are right.
refused: condition => A policy's condition, a permissions boundary or a service control policy forbids it.
refused: engine => The engine is older than Valkey 7.2 or Redis OSS 7.0, the first to know IAM.
"""


def _causes(what: str, **facts: object) -> list[str]:
    """What the first entry of the table that fits says, with the facts put in."""
    import re

    for entry in re.split(r"\n(?=\S)", _CAUSES.strip()):
        pattern, *causes = re.split(r" => |\n    (?=\S)", entry)
        if re.match(pattern, what):
            return [" ".join(cause.split()).format(form=_TOKEN_FORM, **facts) for cause in causes]
    return []


def _causes_of(findings: Iterable[tuple[str, object]], **facts: object) -> list[str]:
    """What the table says of each finding, unless nothing was found."""
    return [cause for name, found in findings if found for cause in _causes(name, found=found, **facts)]


# --- the command line ---

_ARGUMENTS = (  # commands, services (none: all), the argument, what stands for its value (none: a switch), help
    ("token check", "elasticache", "user", "USER", "user id"),
    ("token check", "elasticache", "name", "CACHE", "replication group id or serverless cache's name"),
    ("token check", "memorydb", "user", "USER", "user name"),
    ("token check", "memorydb", "name", "CLUSTER", "cluster's name"),
    ("token check", "endpoint", "user", "USER", "user id or user name"),
    ("token check", "endpoint", "endpoint", "HOST[:PORT]", "host name as AWS shows it; the port is 6379 unless given"),
    ("token check", "elasticache", "--serverless", "", "for ElastiCache Serverless"),
    ("token check", "", "--region", "REGION", "such as us-east-1"),
    ("token check", "", "--role-arn", "ARN", "role to assume first, such as one of the cache's account"),
    ("token check", "", "--external-id", "ID", "what the role's trust policy demands"),
    ("token", "", "--file", "PATH", "write the token there instead, as a whole, readable for the owner only"),
    ("token", "", "--every", "SECONDS", "write a new one so often, until ended; less than 900"),
    ("check", "elasticache memorydb", "--endpoint", "HOST[:PORT]", "the port is 6379 unless given"),
    ("check", "", "--server-name", "NAME", "the cache's own host name, where the endpoint is a tunnel to it"),
    ("check", "", "--ca-file", "FILE", "certificates to trust instead of the system's, PEM"),
    ("check", "", "--timeout", "SECONDS", "limit of each step (5)"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    argv: the arguments after the program's name; those of the process when None.
    0: done. 1: there were no credentials, or a check found a problem. 2: usage or configuration.
    130: interrupted.
    """
    try:
        options = _parsed_arguments(argv)
        status: int = options.run(options)
    except (Error, OSError) as error:
        return _failed(error, 2 if isinstance(error, ConfigurationError) else 1)
    except KeyboardInterrupt:
        return 130
    return status


def _failed(error: Exception, status: int) -> int:
    if sys.stderr is not None:  # print would take standard output instead
        print(f"iamcacheauth: {error}", file=sys.stderr)
    return status


def _parsed_arguments(argv: Sequence[str] | None) -> Any:
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            usage = " ".join(self.format_usage().split())
            # The other messages repeat arguments, which may be secrets.
            harmless = message.startswith("the following arguments are required") or (
                message.startswith("argument --") and message.endswith(": expected one argument")
            )
            raise ConfigurationError(f"{message}; {usage}" if harmless else usage)

    parser = Parser(
        prog="iamcacheauth",
        description="Log in to Amazon ElastiCache and MemoryDB with IAM instead of a password.",
        epilog="Credentials and, without --region, the region come from the AWS_ variables of the environment.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command, run, summary in (
        ("token", _run_token, "print a new token"),
        ("explain", _run_explain, "say what is in a token and what is wrong with it"),
        ("check", lambda options: _Check(options).run(), "log in to a cache, and say why if that fails"),
    ):
        of_command = commands.add_parser(command, help=summary, allow_abbrev=False)
        of_command.set_defaults(run=run)
        if command == "explain":
            continue
        services = of_command.add_subparsers(dest="service", metavar="SERVICE", required=True)
        for service, what in {**_SERVICES, "endpoint": "either, by the host name that AWS shows"}.items():
            of_service = services.add_parser(service, help=f"for {what}", allow_abbrev=False)
            for of_commands, of_services, argument, metavar, explanation in _ARGUMENTS:
                if command in of_commands and service in (of_services or service):
                    how: dict[str, Any] = {"metavar": metavar} if metavar else {"action": "store_true"}
                    if metavar == "SECONDS":
                        how.update(type=float, default=5.0 if command == "check" else None)
                    if argument == "--endpoint":
                        how.update(required=True)
                    of_service.add_argument(argument, help=explanation, **how)
    try:
        return parser.parse_args(argv)
    except SystemExit:  # after --help or --version, which leaves nothing to do
        return argparse.Namespace(run=lambda _: 0)


def _generator(options: Any, timeout: float = 5.0) -> ElastiCacheAuth | MemoryDBAuth:
    """What the arguments of token and check stand for."""

    def made(credentials: _CredentialsArgument) -> ElastiCacheAuth | MemoryDBAuth:
        how: dict[str, Any] = {"region": options.region, "credentials": credentials}
        if options.service == "endpoint":
            return for_endpoint(options.user, options.endpoint, **how)
        if options.service == "memorydb":
            return MemoryDBAuth(options.user, options.name, **how)
        return ElastiCacheAuth(options.user, options.name, serverless=options.serverless, **how)

    if options.service == "endpoint" and not _parsed_endpoint(options.endpoint):
        raise ConfigurationError(
            "HOST[:PORT]: AWS's own host name is wanted, like master.my-cache.abc123.use1.cache.amazonaws.com; for an"
            " alias, an address or a tunnel, use 'elasticache USER CACHE' or 'memorydb USER CLUSTER' instead"
        )
    if options.external_id and not options.role_arn:
        raise ConfigurationError("--external-id: it belongs to --role-arn, which is not given")
    region = made(None).region
    if options.role_arn:
        return made(AssumedRole(options.role_arn, external_id=options.external_id, region=region, timeout=timeout))
    return made(EnvironmentCredentials(region=region, timeout=timeout))


def _output(*lines: str) -> None:
    """Print now: a failure that shows only when the interpreter exits would end in a traceback."""
    if sys.stdout is None:
        raise OSError("standard output is closed")
    text = "\n".join(lines)
    encoding = sys.stdout.encoding or "ascii"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError:
        sys.stdout = None  # or the interpreter tries again when it exits
        raise


def _wrapped(text: str, start: str = "") -> list[str]:
    import textwrap

    how: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.wrap(text, 96, initial_indent=start, subsequent_indent=" " * len(start), **how)


def _listed(heading: str, texts: Sequence[str]) -> list[str]:
    """A single text as it is, several numbered and under a heading."""
    if len(texts) == 1:
        return _wrapped(texts[0])
    return [heading, *(line for number, text in enumerate(texts, 1) for line in _wrapped(text, f"{number}. "))]


def _duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    left, parts = round(abs(seconds)), []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        parts += [f"{count} {unit}"] if count else []
    return " ".join(parts[:2]) or "0 s"


# --- token ---


def _run_token(options: Any) -> int:
    import signal

    path, every = options.file, options.every
    if every is not None and (path is None or not 0 < every < _TOKEN_LIFETIME):
        raise ConfigurationError(f"--every: less than the {_TOKEN_LIFETIME} seconds of a token are wanted, with --file")
    generator = _generator(options)
    if path is None:
        _output(generator.token())
    elif every is None:
        _write_token(generator, path)
    else:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for number in before:
                signal.signal(number, signal.default_int_handler)
            while True:
                pause = min(every, 10.0)  # until there are credentials, or such as live longer
                try:
                    expiration = _write_token(generator, path)
                    pause = every if expiration is None or expiration > time.time() + every else pause
                except (Error, OSError) as error:
                    _failed(error, 1)
                time.sleep(pause)
        except KeyboardInterrupt:
            pass
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return 0


def _write_token(generator: TokenGenerator, path: str) -> float | None:
    """Put a new token in the file's place, so that readers find this one or the last; when its credentials expire."""
    from secrets import token_hex

    credentials = generator._provider()
    token, draft = generator._sign(credentials, time.time()), f"{path}.{token_hex(8)}"
    try:
        with open(draft, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(token)  # without a line break, which some clients would take for a part of it
        os.replace(draft, path)
    except (OSError, ValueError) as error:  # which quotes the path: by mistake, that may be a token
        reason = getattr(error, "strerror", "no file has such a name")
        raise OSError(f"--file: it cannot be written: {reason}") from None
    finally:
        if os.path.lexists(draft):
            os.unlink(draft)
    return credentials.expiration


# --- explain ---


def _run_explain(options: Any) -> int:
    if sys.stdin is None:
        raise ConfigurationError("explain: there is no standard input to read a token from")
    stream = getattr(sys.stdin, "buffer", sys.stdin)
    if sys.stdin.isatty() and sys.stderr is not None:
        print("Paste a token and end the input (Ctrl-D).", file=sys.stderr)
    content = stream.read(_SIZE_LIMIT)
    text = content if isinstance(content, str) else content.decode("utf-8-sig", "replace")
    claims, problems = _explained(text, time.time())
    if claims:
        _output(*(f"{name:<13}{value}".rstrip() for name, value in claims.items()), "")
    _output(*_listed("What is wrong, the most certain first:", problems or _causes("nothing")))
    return 1 if problems else 0


def _explained(text: str, now: float) -> tuple[dict[str, str], list[str]]:
    """What a token claims, and what is wrong with it, the most certain first."""
    import re

    token, wrappings = _unwrapped(text.strip())
    start, _, query = token.partition("?")
    pairs, flaws = _parsed_params(query)
    params = dict(pairs)
    foreign = _causes(f"text: {token if '=' in token else text.strip()}")
    if foreign != _causes("text") or params.keys().isdisjoint(("Action", "X-Amz-Credential")):
        return {}, foreign
    missing = ", ".join(name for name in _PARAM_FORMS if not params.get(name))
    of_form: _Findings = [
        ("malformed", not missing and f"{name} is not {words}")
        for name, (form, words) in _PARAM_FORMS.items()
        if not re.fullmatch(form, params.get(name, ""))
    ]
    claims: dict[str, str] = {}
    if not of_form:  # else pieces of its secrets may be anywhere
        claims, of_form = _contents(start, pairs, _secrets_in(token), now)
    return claims, _causes_of([("missing", missing), *wrappings, *flaws, *of_form])


def _contents(start: str, pairs: list[tuple[str, str]], secrets: str, now: float) -> tuple[dict[str, str], _Findings]:
    """What a token with these parameters behind its start claims, and the findings."""
    import re

    params = dict(pairs)
    access_key, _, region, service, _ = params["X-Amz-Credential"].split("/")
    name, slash, path = start.partition("/")
    user, session_token = params["User"], params.get("X-Amz-Security-Token")
    resource_types = {param: value for param, value in pairs if "resource" in param.lower()}
    serverless = resource_types == {"ResourceType": "ServerlessCache"}
    mode = (" Serverless" if serverless else ", not serverless") if service == "elasticache" else ""
    kind = "cluster" if service == "memorydb" else "cache"
    key_kind = _KEY_KINDS.get(access_key[:4], "of an unknown kind")
    no_user = _objection(_checked_user, service, user)
    plain = {
        "service": _SERVICES.get(service, service) + mode,
        kind: "" if "=" in name else name,  # the end of another token may hold its signature
        "user": _HIDDEN if no_user and user != "default" else user,
        "region": region,
        "access key": f"{_shortened(access_key)}, {key_kind}",
    }
    claims = {claim: _claimed(value, secrets) for claim, value in plain.items()}

    mistake = _signing_mistake(start, pairs)
    of_start: _Findings
    if mistake == "spelling":
        of_start = [(mistake, _claimed(f"{_signed_host(name)}/?", secrets))]
    elif not set(name).isdisjoint(".:"):
        of_start = [("endpoint", f"{kind}'s name{_probable_name(name) if claims[kind] == name else ''}")]
    elif not re.fullmatch("[A-Za-z0-9_-]+", name) or not slash or path:
        of_start = [("start", kind)]
    else:
        no_name = _objection(_checked_name, kind, name, 40 if mode == ", not serverless" else None)
        of_start = [("impossible", no_name), ("upper case", name != name.lower() and f"{kind}'s name")]
    times, of_times = _times(params, now)
    claims.update(times)
    if mistake is not None:
        wrong = "not " if mistake not in ("", "spelling") else ""
        claims["signature"] = f"{wrong}right for the keys in this environment"
    of_environment = os.environ.get("AWS_SESSION_TOKEN", session_token)
    known = _SIGNING_PARAMS.union(_PARAM_FORMS, resource_types)
    return claims, [
        ("service", service not in _SERVICES),
        ("no ResourceType", service == "memorydb" and resource_types),
        ("ResourceType", service != "memorydb" and resource_types and not serverless),
        *of_start,
        ("impossible", no_user),
        ("upper case", user != user.lower() and "user"),
        ("impossible", _objection(_checked_region, "region", region)),
        ("no key", "no key" in key_kind and key_kind),
        ("lost", key_kind == "temporary" and not session_token),
        ("left over", key_kind == "permanent" and session_token),
        ("other session", mistake is not None and session_token not in (None, "", of_environment)),
        ("mistake", mistake != "spelling" and mistake),
        *of_times,
        ("parameters", params.keys() - known),
    ]


def _times(params: dict[str, str], now: float) -> tuple[dict[str, str], _Findings]:
    """What a token's times claim, and the findings."""
    from datetime import datetime

    written, lifetime = params["X-Amz-Date"], int(params["X-Amz-Expires"])
    findings: _Findings = [
        ("lifetime", not 1 <= lifetime <= _TOKEN_LIFETIME),
        ("dates", params["X-Amz-Credential"].split("/")[1] != written[:8]),
    ]
    try:
        begin = datetime.strptime(written, "%Y%m%dT%H%M%S%z").timestamp()
    except ValueError:
        return {}, [*findings, ("no time", True)]
    age, left = now - begin, begin + lifetime - now
    hours = abs(int(age // 3600))
    findings += [
        ("expired", left <= 0 and _duration(left)),
        ("early", age < -_CLOCK_TOLERANCE),
        ("local time", 1 <= hours <= 14 and age % 3600 < 600 and hours),
    ]
    claims = {
        "signed": f"{_utc(begin)}, {f'in {_duration(age)}' if age < 0 else f'{_duration(age)} ago'}",
        "valid until": f"{_utc(begin + lifetime)}, {_duration(left)} {'left' if left > 0 else 'ago'}",
    }
    return claims, findings


def _signed_host(name: str) -> str:
    """As signers write it: in lower case and without the port that the scheme stands for."""
    import re

    return re.sub(":(443|80)$", "", name.lower())


_HIDDEN = "(hidden: it may hold a secret)"


def _claimed(value: str, secrets: str) -> str:
    """What a token says, to be printed, unless it may be a secret in the wrong place."""
    from urllib.parse import unquote

    plain = unquote(value)
    return value if value.isprintable() and len(value) <= 64 and _safe(plain, secrets) == plain else _HIDDEN


def _objection(check: Callable[..., object], *arguments: object) -> str:
    """What a check of arguments has against these."""
    try:
        check(*arguments)
    except ConfigurationError as error:
        return str(error)
    return ""


def _unwrapped(text: str) -> tuple[str, _Findings]:
    """The token, out of what other programs made of it, and the findings."""
    import re
    from base64 import urlsafe_b64decode
    from urllib.parse import unquote

    def quoted(found: re.Match[str]) -> str:
        return next((text for text in re.split("['\"]", found[0]) if "?" in text or "%3f" in text.lower()), found[0])

    def decoded(found: re.Match[str]) -> str:
        try:
            plain = urlsafe_b64decode(found[0].replace("+", "-").replace("/", "_") + "==").decode()
        except ValueError:
            plain = ""
        return plain if "X-Amz-" in plain else found[0]

    findings: _Findings = []
    for wrapping, form, original in (
        ("JSON", r"^[{\[].*", quoted),
        ("variable", r"^(?:[\w-]+\s+)?[\w-]+=(['\"]?)(?=[^=&]*(?:\?|%3F))(.*)\1$", r"\2"),
        ("key", r"^(?:-\s+)?[\w.-]+:\s+(['\"]?)(.*)\1$", r"\2"),
        ("URL", r"^\w+://[^/?@]*:(.+)@[^@]*$", lambda found: found[1] if "?" in found[1] else unquote(found[1])),
        ("encoded", r"^(?!.*\?).*%3F.*$", lambda found: unquote(found[0])),
        ("base64", r"^[\w+/=-]{100,}$", decoded),
        ("words", r"^[^?]*\s(?=[^\s?]*\?)|(?<=X-Amz-Signature=[0-9a-f]{64})['\"]?\s.*$", ""),
        ("white space", r"\s+", ""),
        ("quotes", r"^['\"`]+|['\"`]+$", ""),
        ("HTML", "&amp;", "&"),
        ("escaped", r"\\u0026", "&"),
        ("scheme", "^[^?]*?://", ""),
    ):
        before, text = text, re.sub(form, original, text, flags=re.DOTALL | re.IGNORECASE)
        findings.append((wrapping, text != before))
    return text, findings


def _parsed_params(query: str) -> tuple[list[tuple[str, str]], _Findings]:
    """The decoded parameters, each of which should be there once and be encoded once, and the findings."""
    import re
    from collections import Counter
    from urllib.parse import unquote

    known = _SIGNING_PARAMS.union(_PARAM_FORMS)
    capitals = {name.lower(): name for name in _SIGNING_PARAMS}
    as_written = [param.partition("=")[::2] for param in query.split("&")]
    pairs = [(capitals.get(name.lower(), name), value) for name, value in as_written]
    count = Counter(name for name, _ in pairs)

    def shown(names: Iterable[str]) -> str:  # a name that tokens do not have may be a piece of a secret
        return ", ".join(dict.fromkeys(name if name in known else "another parameter" for name in names))

    def having(flaw: str) -> str:
        return shown(name for name, value in pairs if re.search(flaw, f"{name}={value}"))

    findings: _Findings = [
        ("twice", shown(name for name in count if count[name] > 1)),
        ("capitals", shown(name for (name, _), (before, _) in zip(pairs, as_written) if name != before)),
        ("stray %", having("%(?![0-9A-Fa-f]{2})")),
        ("double encoding", having("^X-Amz-.*%25[0-9A-Fa-f]{2}")),  # a user may hold a '%'
        ("plus", having(r"\+")),
    ]
    pairs = [(name, unquote(value)) for name, value in pairs]
    return [(name, unquote(value) if name in _SIGNING_PARAMS else value) for name, value in pairs], findings


def _signing_mistake(written: str, pairs: list[tuple[str, str]]) -> str | None:
    """What its maker did wrong, in words; "spelling" if only the start is written otherwise; "" if it is right.

    None if the key is not this environment's, so that nobody can tell.
    """
    from datetime import datetime, timedelta

    params = dict(pairs)
    access_key, date, region, service, _ = params["X-Amz-Credential"].split("/")
    secret_key = os.environ.get("AWS_SECRET_ACCESS_KEY", "").strip()
    if access_key != os.environ.get("AWS_ACCESS_KEY_ID", "").strip() or _flaw(secret_key):
        return None
    signed = [(name, value) for name, value in pairs if name != "X-Amz-Signature"]
    small = [(name.lower() if name == "X-Amz-Security-Token" else name, value) for name, value in signed]
    encoded, host, known = _encoded(signed), written.partition("/")[0], _SIGNING_PARAMS.union(_PARAM_FORMS)
    name = _signed_host(host)

    def moved(time: str, form: str, **by: int) -> str:
        return (datetime.strptime(time, form) + timedelta(**by)).strftime(form)

    def without(added: str) -> str:
        return canonical_query(pair for pair in signed if pair[0] != added)

    right = {"method": "GET", "path": "/", "query": canonical_query(signed), "host": name, "day": date}
    right.update(payload=_EMPTY_PAYLOAD_HASH, time=params["X-Amz-Date"])
    try:
        made = [  # what its maker did, and what it took for which part
            ("" if written == f"{name}/" else "spelling", "host", name),
            ("", "host", host),
            ("with UNSIGNED-PAYLOAD: sign the SHA-256 of an empty payload", "payload", "UNSIGNED-PAYLOAD"),
            ("with no payload hash: sign the SHA-256 of an empty payload", "payload", ""),
            ("as a POST request: sign a GET request", "method", "POST"),
            ("without a path: sign for the path '/'", "path", ""),
            ("for the path '//': sign for the path '/'", "path", "//"),
            ("with unsorted parameters: sort the canonical query by name", "query", _joined(encoded)),
            ("with parameters encoded twice: encode them once", "query", canonical_query(encoded)),
            ("with parameters that were not encoded: encode them once", "query", _joined(sorted(signed))),
            ("with x-amz-security-token in small letters: sign it in AWS's", "query", canonical_query(small)),
            ("for the name with a port: sign for the name alone", "host", f"{name}:6379"),
        ]
        for added, _ in signed:  # one that tokens do not have may be a piece of a secret
            shown = added if added in known else "another parameter"
            made.append((f"before {shown} was added: add it first", "query", without(added)))
        for by in (-2, -1, 1, 2):
            time = moved(params["X-Amz-Date"], "%Y%m%dT%H%M%SZ", seconds=by)
            made.append(("for another second than X-Amz-Date says: read the clock once", "time", time))
            day = moved(date, "%Y%m%d", days=by)
            made.append(("with another day's key than X-Amz-Credential says: read the clock once", "day", day))
        for mistake, part, taken in made:
            of = {**right, part: taken}
            request = "{method}\n{path}\n{query}\nhost:{host}\n\nhost\n{payload}".format(**of)
            text = string_to_sign(of["time"], f"{date}/{region}/{service}/aws4_request", request)
            key = signing_key(secret_key, of["day"], region, service)
            if hmac.digest(key, text.encode(), "sha256").hex() == params["X-Amz-Signature"]:
                return mistake
    except (ValueError, OverflowError):  # for there is no such time
        return None
    return "with another secret key than this environment's, or changed after that. Make a new one"


# --- check ---


class _Check:
    """The way to a cache. A step returns what it saw, or raises an Error that says it."""

    def __init__(self, options: Any) -> None:
        self.timeout = _checked_timeout(options.timeout)
        self.generator = _generator(options, self.timeout)
        self.role = options.role_arn
        self.host, self.port = _host_and_port("--endpoint", options.endpoint)
        self.server_name = _host_and_port("--server-name", options.server_name)[0] if options.server_name else self.host
        self.endpoint = _parsed_endpoint(self.server_name)
        self.public = self.endpoint is not None and self.endpoint.public
        self.place = (
            "named" if options.server_name else "other" if not self.endpoint else "public" if self.public else "aws"
        )
        self.trust = _tls_context("--ca-file", options.ca_file)
        self.secrets = ""  # what no answer may repeat
        self.warnings: list[str] = []
        self.flaws: list[str] = []  # of the token
        self.doubts: list[str] = []  # about the endpoint
        self.faults: list[str] = []  # of the credentials, as STS tells them
        self.addresses: list[Any] = []
        self.who = self.account = ""

    def run(self) -> int:
        """Take the steps, each timed and printed; explain the first that fails. The exit status."""
        from contextlib import ExitStack

        metric = {"elasticache": "IamAuthenticationThrottling", "memorydb": "AuthenticationFailures"}
        with ExitStack() as self.cleanup:
            for step in (self.credentials, self.token, self.connect, self.tls, self.auth, self.ping, self.cluster):
                failure = self.taken(step)
                if not failure:
                    continue
                policy: list[str] = []
                if step == self.auth and ": WRONGPASS" in failure:
                    self.taken(self.identity)
                    causes, policy = self.causes_of_wrongpass()
                else:
                    facts = {"command": step.__name__.upper(), "metric": metric[self.generator.service]}
                    causes = _causes(failure, **facts)
                _output("", *_listed("What may have caused this, the most likely first:", causes), *policy)
                return 1
        return 0

    def taken(self, step: Callable[[], str]) -> str:
        """Take a step and print it; return how it failed, if it did."""
        started, outcome = time.perf_counter(), "ok"
        try:
            seen = step()
        except Error as error:
            outcome, seen = "FAILED", str(error)
        milliseconds = (time.perf_counter() - started) * 1000
        if seen:
            _output(*_wrapped(seen, f"{step.__name__:<12}{outcome:<8}{milliseconds:>7.1f} ms  "))
        while self.warnings:
            _output(*_wrapped(self.warnings.pop(0), "  warning: "))
        return "" if outcome == "ok" else f"{step.__name__} {self.place}: {seen}"

    def credentials(self) -> str:
        self.signed_with = self.generator._provider()
        profiles = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
        self.warnings = _causes_of(("profile", os.environ.get(variable) and variable) for variable in profiles)
        environ, assumed = _settings(os.environ), f"role {self.role}, assumed with " if self.role else ""
        static = "AWS_ACCESS_KEY_ID" in environ
        source = "static keys (AWS_ACCESS_KEY_ID)" if static else _configured_source(environ)[0]
        return f"{_described(self.signed_with)}, from {assumed}{source}"

    def token(self) -> str:
        generator, endpoint = self.generator, self.endpoint
        self.signed = generator._sign(self.signed_with, time.time())
        self.secrets = f"{self.signed_with.secret_key} {_secrets_in(self.signed)}"
        self.flaws = _explained(self.signed, time.time())[1]
        if endpoint:
            same = endpoint.service == generator.service
            findings = (
                ("doubt: service", not same),
                ("doubt: serverless", same and endpoint.serverless and not generator._serverless),
                ("doubt: not serverless", same and generator._serverless and not endpoint.serverless),
                ("doubt: name", same and endpoint.name not in (None, generator.name)),
                ("doubt: region", same and endpoint.region not in (None, generator.region)),
                ("doubt: flaw", same and endpoint.flaw),
            )
            self.doubts = _causes_of(findings, endpoint=endpoint, generator=generator)
        self.warnings = self.flaws + self.doubts
        kind = "serverless" if generator._serverless else generator.service
        return f"user {generator.user}, {kind} {generator.name}, region {generator.region}"

    def connect(self) -> str:
        deadline, where = time.monotonic() + self.timeout, _safe(self.host)
        try:
            self.addresses = _within(self.timeout, lambda: _resolved(self.host, self.port))
            where = f"{', '.join(str(address[0]) for *_, address in self.addresses)} port {self.port}"
            self.connection = self.cleanup.enter_context(_connect(self.addresses, deadline))
        except UnicodeError as error:  # for a label that is empty or too long
            raise Error(f"{where}: the host name does not resolve") from error
        except OSError as error:
            late = f"no answer {'' if self.addresses else 'from the resolver '}within {self.timeout:g} s"
            raise Error(f"{where}: {_reason(error).replace('no complete answer in time', late)}") from error
        return where

    def tls(self) -> str:
        import socket
        import ssl

        deadline, name = time.monotonic() + self.timeout, self.server_name
        try:
            connection = self.trust.wrap_socket(self.connection, server_hostname=name, do_handshake_on_connect=False)
            self.connection = tls = self.cleanup.enter_context(connection)
            tls.settimeout(min(0.5, self.timeout / 2))
            try:
                tls.do_handshake()
            except (socket.timeout, TimeoutError):  # a server without TLS may be waiting for the end of a line
                if self.speaks_plaintext(deadline):
                    raise
                tls.settimeout(_left(deadline))
                tls.do_handshake()
        except ssl.SSLCertVerificationError as error:
            raise Error(_reason(error)) from error
        except OSError as error:
            plaintext = self.speaks_plaintext(deadline)
            raise Error("this port speaks plaintext" if plaintext else f"no TLS here: {_reason(error)}") from error
        certificate: dict[str, Any] = tls.getpeercert() or {}
        names = [name for _, name in certificate.get("subjectAltName", ())] or [name]
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        until = _utc(ssl.cert_time_to_seconds(certificate["notAfter"])).partition("T")[0]
        return f"{tls.version()}, certificate until {until} for {_safe(names[0], self.secrets)}{others}"

    def speaks_plaintext(self, deadline: float) -> bool:
        try:
            deadline -= _left(deadline) / 2  # the other half is for TLS, if it is only slow
            with _connect(self.addresses, deadline) as connection:
                connection.sendall(b"PING\r\n")
                return _file_until(deadline, connection).read(1) in (b"+", b"-")
        except OSError:
            return False

    def auth(self) -> str:
        return self.answer("+OK", "AUTH", self.generator.user, self.signed)

    def ping(self) -> str:
        return self.answer("+PONG", "PING")

    def cluster(self) -> str:
        """What it means for clients that the cache is a cluster; nothing if it is none, or may not be asked."""
        try:
            self.answer("$", "CLUSTER", "INFO")
        except Error:
            return ""
        return _causes("cluster")[0]

    def answer(self, wanted: str, *command: str) -> str:
        """The answer to a command without its sign; an Error if it is not the one wanted (of "$": not that kind)."""
        words = [word.encode() for word in command]
        deadline = time.monotonic() + self.timeout
        request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        try:
            self.connection.settimeout(self.timeout)
            self.connection.sendall(request)
            line = _file_until(deadline, self.connection).readline(1024).decode("utf-8", "replace")
        except OSError as error:
            raise Error(f"no answer to {command[0]}: {_reason(error)}") from error
        if line == f"{wanted}\r\n" or (wanted == "$" and line.startswith("$")):
            return wanted[1:]
        refusal = _safe(line[1:], self.secrets)
        if line.startswith("-") and refusal:
            raise Error(refusal)
        seen = "it does not speak the Redis protocol" if line else "the connection was closed"
        raise Error(f"no answer to {command[0]}: {seen}")

    def identity(self) -> str:
        """Ask STS whose credentials these are, which needs no permission, and keep what is wrong with them.

        https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
        """
        import re
        from email.utils import parsedate_to_datetime
        from urllib.parse import urlsplit

        environ = {**_settings(os.environ), "AWS_REGION": self.generator.region}
        sts, limit = "STS", min(self.timeout, 3.0)
        deadline, params = time.monotonic() + limit, {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
        try:
            url = _presigned_for_sts(self.signed_with, params, environ)
            self.secrets += f" {_secrets_in(url)}"
            for variable in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"):
                if url.startswith(f"{environ.get(variable, '').rstrip('/')}/?"):
                    sts = f"STS at {_safe(urlsplit(url).hostname or '')} ({variable})"
            request: _Request = ("GET", url, {}, None)
            ask = lambda: _exchange(request, environ, deadline, through_proxy=True)
            status, headers, body = _within(limit, ask)
        except (Error, TimeoutError) as error:
            reason = error if isinstance(error, Error) else _reason(error)
            raise Error(f"{sts} cannot be asked: {reason}") from error
        answer = {name: _safe(str(text), self.secrets) for name, text in _fields(body).items()}
        code, message, arn = (answer.get(name, "") for name in ("Code", "Message", "Arn"))
        try:
            ahead = parsedate_to_datetime(headers["Date"]).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            ahead = 0.0
        untimely = message.startswith(("Signature expired", "Signature not yet"))
        if untimely or not -_CLOCK_TOLERANCE < ahead < _TOKEN_LIFETIME:
            by = f" ({_duration(ahead)} {'behind' if ahead > 0 else 'ahead'})" if ahead else ""
            self.faults = _causes("clock", by=by)
        else:
            self.faults = _causes(f"STS {code}")
        form = r"arn:[a-z-]+:(?:iam|sts)::([0-9]{12}):(?:assumed-role/([\w+=,.@-]+)/)?[\w+=,.@/-]+"
        identity = re.fullmatch(form, arn, re.ASCII)
        if status != 200 or not identity:
            raise Error(f"{sts}: {code or f'HTTP status {status}'} {message}")
        self.account, self.who = identity[1], f"role {identity[2]}" if identity[2] else arn
        return arn if sts == "STS" else f"{arn}, says {sts}"

    def causes_of_wrongpass(self) -> tuple[list[str], list[str]]:
        """What is certainly wrong with the token or its credentials; else what usually is, and a policy to paste.

        https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
        https://docs.aws.amazon.com/memorydb/latest/devguide/auth-iam.html
        """
        import json

        if self.flaws or self.faults:
            return [*self.flaws, *self.faults, *self.doubts], []
        generator, service = self.generator, self.generator.service
        kind = "serverlesscache" if generator._serverless else "replicationgroup"
        cache, user = f"{kind}:{generator.name}", f"user:{generator.user}"
        if service == "memorydb":
            kind, cache, user = "cluster", f"cluster/{generator.name}", f"user/{generator.user}"
        facts = {"service": service, "cache": cache, "user": user, "name": generator.user, "now": _utc(time.time())}
        facts.update(kind="cluster" if kind == "cluster" else "cache", who=self.who, account=self.account)
        likely = (
            ("refused: known" if self.who else "refused: unknown", True),
            ("refused: public" if self.public else f"refused: {service}", True),
            ("refused: account", self.who),
            ("refused: alias", not self.endpoint),
            ("refused: condition", True),
            ("refused: engine", not self.public),
        )
        untold = _causes_of([("refused: untold", not self.who)], **facts)
        causes = [*untold, *self.doubts, *_causes_of(likely, **facts)]
        arn = f"arn:{_partition(generator.region)[0]}:{service}:{generator.region}:{self.account}"
        statement = {"Effect": "Allow", "Action": f"{service}:Connect", "Resource": [f"{arn}:{cache}", f"{arn}:{user}"]}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)
        return causes, ["", policy] if self.who else []


def _within(seconds: float, function: Callable[[], _Parsed]) -> _Parsed:
    """What the function returns or raises, or a TimeoutError: a resolver keeps to no limit of ours."""
    import concurrent.futures
    import threading

    outcome: Future[_Parsed] = concurrent.futures.Future()

    def run() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return outcome.result(seconds)
    except concurrent.futures.TimeoutError:
        raise TimeoutError from None


def _host_and_port(argument: str, endpoint: str) -> tuple[str, int]:
    import re

    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::([0-9]{1,5}))?", endpoint)
    if not found or int(found[3] or 0) > 65535:
        raise ConfigurationError(f"{argument}: HOST or HOST:PORT is wanted, without a scheme or a path")
    return (found[1] or found[2]).lower(), int(found[3] or 6379)


if __name__ == "__main__":
    sys.exit(main())
