# iamcacheauth: IAM authentication tokens for Amazon ElastiCache and MemoryDB
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
    from iamcacheauth import ElastiCacheAuth

    auth = ElastiCacheAuth("my-iam-user", "my-cache", region="us-east-1")
    cache = redis.Redis(host="<the cache's endpoint>", ssl=True, credential_provider=auth)
    cache.ping()

The password is a SigV4 presigned URL without its scheme, good for 15 minutes.
``auth.token()`` signs a new one at every call, for any client. The command line
(``python3 iamcacheauth.py --help``) prints tokens too.

What this file promises:

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
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime
    from http.client import HTTPMessage
    from io import BufferedReader
    from socket import socket
    from ssl import SSLContext, SSLSocket
    from typing import Any, NoReturn, Protocol, TypeVar, Union

    _Answer = TypeVar("_Answer")
    _Connection = TypeVar("_Connection")

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

    _CredentialsArgument = Union[
        _FrozenCredentials, _Freezable, Callable[[], Union[_FrozenCredentials, _Freezable]], None
    ]
    # Clients declare their provider parameter as a class of their own; a base of Any fits all of them.
    _AnyProvider = Any
else:
    Protocol = _AnyProvider = object

__version__ = "0.1.0"
__all__ = [
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
    "main",
    "presign",
    "signing_key",
    "string_to_sign",
    "uri_encode",
    "with_lifetime",
]

_TOKEN_LIFETIME = 900  # seconds; both services refuse a longer X-Amz-Expires
_RENEW_EARLY = 900  # seconds before their expiry; a token lives no longer than what it was signed with
_RENEWAL_PAUSE = 10  # seconds between attempts to renew credentials that are still valid

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
    """One set of AWS credentials, with the attributes of ``Credentials`` and ``expiration``.

    access_key, secret_key: text. token: text, or None for permanent keys.
    expiration: when they stop working, as epoch seconds, as ISO 8601 text the way AWS
    writes it ("2026-01-02T03:04:05Z") or as an aware datetime; None if they do not.
    The attribute holds epoch seconds or None.

    Raises ConfigurationError for a value that cannot be right, without repeating it.
    """

    __slots__ = ("access_key", "expiration", "secret_key", "token")

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        token: str | None = None,
        expiration: float | str | datetime | None = None,
    ) -> None:
        self.access_key = _checked_key("access_key", access_key)
        self.secret_key = _checked_key("secret_key", secret_key)
        self.token = None if token is None or token == "" else _checked_key("token", token)
        self.expiration = None if expiration is None else _epoch(expiration)

    def __repr__(self) -> str:
        return f"<StaticCredentials {_described(self)}>"


class _Provider:
    """Base of everything that generators get credentials from; not constructed by users.

    Calling it returns a StaticCredentials or raises CredentialsError.
    """

    def __call__(self) -> StaticCredentials:
        return self._at_hand(time.time()) or self._fetch()

    def _at_hand(self, now: float) -> StaticCredentials | None:
        """Valid credentials that need no waiting, or None. Never blocks."""
        return None

    def _fetch(self) -> StaticCredentials:
        """Credentials that nothing was at hand for. May block."""
        raise NotImplementedError

    async def _fetch_async(self) -> StaticCredentials:
        import asyncio

        return await asyncio.get_running_loop().run_in_executor(None, self._fetch)


class RefreshingCredentials(_Provider):
    """Calls ``fetch`` for credentials, keeps them, and renews them before they expire.

    fetch: a callable without arguments that returns an object with the attributes of
    ``Credentials`` and, optionally, ``expiration`` (see StaticCredentials; without one
    they are kept for good, so give botocore's, which renew themselves, to a generator as
    they are). It is called in the thread of whoever needs the credentials, or by asyncio
    in a thread of its own, never twice at a time.
    timeout: the longest wait for another caller's fetch, in seconds, a day at most.

    From 15 minutes before they expire, one caller renews them while the others go on with
    what there is; a renewal that fails, be it with an exception of a time limit of yours,
    is tried again after 10 seconds. Without valid credentials every caller waits for the
    one fetch under way and shares its outcome.

    Safe to share between threads, event loops and forked processes. A copy or pickle
    takes ``fetch`` along but nothing that was fetched. Calling the object returns a
    StaticCredentials or raises CredentialsError.
    """

    def __init__(self, fetch: Callable[[], _FrozenCredentials | _Freezable], *, timeout: float = 5.0) -> None:
        if not callable(fetch):
            raise ConfigurationError(f"fetch: a callable without arguments is wanted, not {_kind(fetch)}")
        self._fetcher = _Callable(fetch)
        self._timeout = _checked_timeout(timeout)
        # The credentials and the time from which to renew them: one object, so that no thread sees half of it.
        self._kept: tuple[StaticCredentials | None, float] = (None, 0.0)
        # At most one per process, under its id: a child forked during a renewal finds none of its own and
        # starts afresh. dict.setdefault is atomic, which spares a lock that a fork could leave locked.
        self._renewals: dict[int, Future[StaticCredentials]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": (None, 0.0), "_renewals": {}}

    def _at_hand(self, now: float) -> StaticCredentials | None:
        due = now > self._kept[1] and os.getpid() not in self._renewals
        return None if due else self._valid(now)

    def _valid(self, now: float) -> StaticCredentials | None:
        """What is kept and has not expired, whether or not it is time to renew it."""
        credentials = self._kept[0]
        return None if credentials is None or _expired(credentials, now) else credentials

    def _fetch(self) -> StaticCredentials:
        import concurrent.futures

        own = self._new_renewal()
        try:
            renewal = self._renewals.setdefault(os.getpid(), own)
            if renewal is own:
                self._renew(own)
            return self._valid(time.time()) or renewal.result(self._timeout)
        except concurrent.futures.TimeoutError:
            raise CredentialsError(self._too_long) from None
        finally:
            self._end(own)

    async def _fetch_async(self) -> StaticCredentials:
        import asyncio

        own = self._new_renewal()
        renewal = self._renew_in_thread(own)
        if renewal is own:
            return await asyncio.wrap_future(own)
        valid = self._valid(time.time())
        if valid is not None:
            return valid
        try:
            return await asyncio.wait_for(asyncio.wrap_future(renewal), self._timeout)
        except asyncio.TimeoutError:
            raise CredentialsError(self._too_long) from None

    def _renew_in_thread(self, own: Future[StaticCredentials]) -> Future[StaticCredentials]:
        """The renewal under way; if there was none, ``own``, which a thread now works on."""
        import threading

        try:
            renewal = self._renewals.setdefault(os.getpid(), own)
            if renewal is own:
                # Not one of the loop's executor, whose threads may all be waiting for this very renewal.
                threading.Thread(target=self._renew, args=(own,), daemon=True).start()
            return renewal
        except RuntimeError:  # can't start new thread
            problem = CredentialsError("no thread could be started to fetch credentials in")
            self._end(own, self._valid(time.time()) or problem)
            return own
        except BaseException:
            self._end(own)
            raise

    def _new_renewal(self) -> Future[StaticCredentials]:
        from concurrent.futures import Future

        renewal: Future[StaticCredentials] = Future()
        renewal.set_running_or_notify_cancel()  # from here on, no waiter that is cancelled can cancel it for all
        return renewal

    def _renew(self, renewal: Future[StaticCredentials]) -> None:
        """Fetch, and give the outcome to everyone who waits for ``renewal``."""
        outcome: StaticCredentials | CredentialsError | None = None
        try:
            outcome = self._renewed()
        except CredentialsError as error:
            outcome = error
        finally:
            self._end(renewal, outcome)

    def _end(
        self, renewal: Future[StaticCredentials], outcome: StaticCredentials | CredentialsError | None = None
    ) -> None:
        """Give the outcome to everyone who waits; there is none when a signal handler's exception cut it short."""
        if not renewal.done():
            if isinstance(outcome, StaticCredentials):
                renewal.set_result(outcome)
            else:
                renewal.set_exception(
                    outcome or CredentialsError("the caller that fetched credentials was interrupted")
                )
        if self._renewals.get(os.getpid()) is renewal:
            del self._renewals[os.getpid()]

    def _renewed(self) -> StaticCredentials:
        now = time.time()
        valid = self._valid(now)
        if valid is not None and now <= self._kept[1]:
            return valid  # another caller's renewal ended between our looking and our registering
        try:
            credentials = self._fetcher._fetch()
        except CredentialsError:
            valid = self._valid(time.time())
            if valid is None:
                raise
            credentials = valid
        expiration = float("inf") if credentials.expiration is None else credentials.expiration
        self._kept = (credentials, max(expiration - _RENEW_EARLY, time.time() + _RENEWAL_PAUSE))
        return credentials

    @property
    def _too_long(self) -> str:
        return f"another caller's fetch of credentials took longer than {self._timeout:g} s"


class EnvironmentCredentials(_Provider):
    """The credentials that the environment provides, by the AWS SDKs' order of sources, files left out.

    Static keys, web identity (EKS IAM roles for service accounts), the container endpoint
    (ECS, Fargate, EKS Pod Identity, Lambda SnapStart), EC2 instance metadata version 2: the
    first source that is configured is used, and an error if it fails; there is no going on
    to the next. Static keys are read at every call; what was fetched is kept and renewed as
    RefreshingCredentials does.

    environ: a mapping of variables; os.environ when None.
    timeout: the limit for one retrieval, all its attempts included, in seconds, a day at
    most. How long looking up a host name takes is up to the resolver and comes on top.

    Calling the object returns a StaticCredentials or raises CredentialsError, which names
    the source, the variable that configured it, and the cause.
    https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
    """

    def __init__(self, environ: Mapping[str, str] | None = None, *, timeout: float = 5.0) -> None:
        if environ is not None and not hasattr(environ, "get"):
            raise ConfigurationError(f"environ: a mapping of variables is wanted, not {_kind(environ)}")
        self._given_environ = None if environ is os.environ else environ  # os.environ cannot be pickled
        self._timeout = _checked_timeout(timeout)
        # What the variables of static keys held, and what was made of it: one object, as above.
        self._static: tuple[tuple[str | None, ...], StaticCredentials | None] = ((), None)
        self._fetched: dict[tuple[str | None, ...], RefreshingCredentials] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_static": ((), None), "_fetched": {}}

    @property
    def _environ(self) -> Mapping[str, str]:
        return os.environ if self._given_environ is None else self._given_environ

    def _at_hand(self, now: float) -> StaticCredentials | None:
        get = self._environ.get
        values = (get(_ACCESS_KEY), get(_SECRET_KEY), get(_SESSION_TOKEN), get(_EXPIRATION))
        known, credentials = self._static
        if values != known:
            credentials = _static_keys(*values)
            self._static = (values, credentials)
        if credentials is None:
            return self._refreshing()._at_hand(now)
        if _expired(credentials, now):
            raise CredentialsError(f"static keys ({_ACCESS_KEY}): {_EXPIRATION} says that {_expiry(credentials)}")
        return credentials

    def _fetch(self) -> StaticCredentials:
        return self._refreshing()._fetch()

    async def _fetch_async(self) -> StaticCredentials:
        return await self._refreshing()._fetch_async()

    def _refreshing(self) -> RefreshingCredentials:
        """The credentials of the source that is configured now; another configuration gets its own."""
        source = _configured_source(self._environ)
        configuration = (source.name, self._environ.get(source.variable), self._environ.get("AWS_ROLE_ARN"))
        if configuration not in self._fetched:
            fetched = RefreshingCredentials(
                lambda: source.retrieve(self._environ, self._timeout), timeout=self._timeout
            )
            self._fetched.setdefault(configuration, fetched)
        return self._fetched[configuration]


class _Given(_Provider):
    """A credentials object of the user's: its attributes are read again at every token."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    def __deepcopy__(self, memo: object) -> _Given:
        return self  # the user's object may hold locks and sockets, and is theirs to copy

    def _at_hand(self, now: float) -> StaticCredentials:
        return _asked(lambda: self._credentials, now)


class _Callable(_Provider):
    """A callable of the user's: it may block, so its credentials are never at hand."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def __deepcopy__(self, memo: object) -> _Callable:
        return self

    def _fetch(self) -> StaticCredentials:
        return _asked(self._function, None)


def _asked(function: Callable[[], Any], now: float | None) -> StaticCredentials:
    """The user's credentials at ``now``, after the call if None; whatever goes wrong is a CredentialsError."""
    try:
        credentials = _snapshot(function())
    except CredentialsError:
        raise
    except Error as error:
        raise CredentialsError(f"credentials: {error}") from error
    except Exception as error:  # its text stays in the cause: nobody knows whether it holds a secret
        raise CredentialsError(f"credentials: asking for them raised {type(error).__name__}") from error
    if _expired(credentials, time.time() if now is None else now):
        raise CredentialsError(f"credentials: {_expiry(credentials)}")
    return credentials


def _provider_for(credentials: Any) -> _Provider:
    """What a generator's ``credentials`` argument stands for."""
    if credentials is None:
        return EnvironmentCredentials()
    if isinstance(credentials, _Provider):
        return credentials
    if callable(credentials):
        return _Callable(credentials)
    if hasattr(credentials, "get_frozen_credentials"):
        return _Callable(credentials.get_frozen_credentials)
    if {"access_key", "secret_key", "token"}.issubset(dir(credentials)):  # which runs no property, as hasattr would
        return _Given(credentials)
    raise ConfigurationError(
        "credentials: None, an object with access_key, secret_key and token, or a callable without arguments"
        f" that returns one is wanted, not {_kind(credentials)}"
    )


def _snapshot(credentials: Any) -> StaticCredentials:
    """The attributes of any credentials object, read once and checked."""
    if isinstance(credentials, StaticCredentials):
        return credentials
    found: Any = credentials.get_frozen_credentials() if hasattr(credentials, "get_frozen_credentials") else credentials
    missing = [name for name in ("access_key", "secret_key", "token") if not hasattr(found, name)]
    if missing:
        raise CredentialsError(f"credentials: {_kind(found)} has no {' and no '.join(missing)}")
    return StaticCredentials(found.access_key, found.secret_key, found.token, getattr(found, "expiration", None))


def _described(credentials: StaticCredentials) -> str:
    kind = "temporary" if credentials.token or credentials.access_key.startswith("ASIA") else "permanent"
    expiry = "" if credentials.expiration is None else f", until {_utc(credentials.expiration)}"
    return f"{_shortened(credentials.access_key)}, {kind}{expiry}"


def _expired(credentials: StaticCredentials, now: float) -> bool:
    return credentials.expiration is not None and credentials.expiration <= now


def _expiry(credentials: StaticCredentials) -> str:
    return f"they expired at {_utc(credentials.expiration or 0)}"


# --- token generators ---


class TokenGenerator(_AnyProvider):  # type: ignore[misc]
    """What ElastiCacheAuth and MemoryDBAuth have in common; construct one of those.

    Safe to share between threads, event loops and forked processes; can be pickled and
    copied, without anything that was fetched or derived.
    """

    _service = ""

    def __init__(
        self,
        user: str,
        name: str,
        region: str | None,
        credentials: _CredentialsArgument,
        serverless: bool = False,
    ) -> None:
        self._user = user
        self._name = name
        self._region = _resolved_region(region)
        self._provider = _provider_for(credentials)
        self._serverless = serverless
        self._params = [("Action", "connect"), ("User", user)]
        if serverless:
            self._params.append(("ResourceType", "ServerlessCache"))
        self._presigner: _Presigner | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._user}@{self._name} in {self._region}>"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_presigner": None}

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
            credentials = self._provider._fetch()
            now = time.time()  # the fetch took a while, and the token's lifetime starts now
        return self._sign(credentials, now)

    async def token_async(self) -> str:
        """Do what token() does without blocking asyncio's loop: credentials are fetched in a thread."""
        now = time.time()
        credentials = self._provider._at_hand(now)
        if credentials is None:
            credentials = await self._provider._fetch_async()
            now = time.time()
        return self._sign(credentials, now)

    def get_credentials(self) -> tuple[str, str]:
        """Return (user, token), a new token each time: what redis-py's ``credential_provider`` is asked for."""
        return self._user, self.token()

    async def get_credentials_async(self) -> tuple[str, str]:
        """Do what get_credentials() does, without blocking the event loop."""
        return self._user, await self.token_async()

    def _sign(self, credentials: StaticCredentials, now: float) -> str:
        timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        presigner = self._presigner
        if presigner is None or not presigner.serves(credentials, timestamp):
            presigner = _Presigner(
                credentials, self._service, self._region, self._name, self._params, timestamp, _TOKEN_LIFETIME
            )
            self._presigner = presigner
        return presigner.url(timestamp)


class ElastiCacheAuth(TokenGenerator):
    """Tokens for an ElastiCache replication group or serverless cache.

    user: the user id, which for IAM equals the user name. cache: the replication group id
    or the serverless cache's name, not its endpoint. Both are signed in lower case, as
    ElastiCache stores them.
    region: such as "us-east-1"; None means AWS_REGION, then AWS_DEFAULT_REGION.
    serverless: True for ElastiCache Serverless.
    credentials: None for EnvironmentCredentials(), an object with the attributes of
    ``Credentials``, or a callable without arguments that returns one. An object with
    get_frozen_credentials(), such as botocore's, is asked for a frozen set at every token.

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
        super().__init__(_checked_user(user).lower(), _checked_name("cache", cache), region, credentials, serverless)


class MemoryDBAuth(TokenGenerator):
    """Tokens for a MemoryDB cluster.

    user: the user name, signed as given. cluster: the cluster's name, not its endpoint,
    signed in lower case. region, credentials: see ElastiCacheAuth.

    Raises ConfigurationError for an argument that cannot be right.
    https://docs.aws.amazon.com/memorydb/latest/devguide/auth-iam.html
    """

    _service = "memorydb"

    def __init__(
        self, user: str, cluster: str, *, region: str | None = None, credentials: _CredentialsArgument = None
    ) -> None:
        super().__init__(_checked_user(user), _checked_name("cluster", cluster), region, credentials)


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
_PARTITIONS = (  # how the names of their regions start, what ARNs call them, and the end of their host names
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


class _Endpoint:
    """What one of AWS's host names tells."""

    service: str
    name: str | None  # None if the form leaves it open
    region: str | None  # None if the code tells nothing
    code: str  # the region as it is written: use1, or us-east-1 in MemoryDB's
    serverless: bool
    public: bool
    tls: bool | None  # None if the form leaves it open
    flaw: str  # why no token is of use there, or empty
    host: str  # in lower case, without a final dot
    port: int | None

    def __init__(self, **told: Any) -> None:
        self.__dict__.update(told)


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
    region, name = region or found.region, found.name or ""
    if found.service == "memorydb":
        return MemoryDBAuth(user, name, region=region, credentials=credentials)
    return ElastiCacheAuth(user, name, region=region, serverless=found.serverless, credentials=credentials)


def _parsed_endpoint(endpoint: str) -> _Endpoint | None:
    """What a host name, with or without a port, tells; None if it is none that AWS gives to caches or clusters."""
    import re

    domains = "|".join(re.escape(domain) for _, _, domain in _PARTITIONS)
    place = r"(?:(?P<code>[a-z0-9]+)\.cache|memorydb\.(?P<region>[a-z]+(?:-[a-z]+)+-[0-9]+))"
    host = rf"(?P<host>(?P<form>.+)\.(?P<end>{place}\.(?P<domain>{domains})))\.?(?::(?P<port>[0-9]{{1,5}}))?"
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
        return _Endpoint(
            service=service,
            name=labels.groupdict().get("NAME"),
            region=region if region and _partition(region)[1] == found["domain"] else None,
            code=found["code"] or found["region"],
            serverless=form.endswith(".serverless"),
            public=".public." in found["form"],
            tls=None if tls_form is None else not tls_form,
            flaw=flaw,
            host=found["host"],
            port=int(found["port"]) if found["port"] else None,
        )
    return None


def _region_of(code: str) -> str | None:
    """The region that ElastiCache's host names write like this; None if that is not sure."""
    import re

    found = re.fullmatch("(?!apn[0-9]|cnw)([a-z]{2})([gi]?(?:[ns]?[ew]|[nsc]))([1-9][0-9]?)", code)
    by_rule = f"{found[1]}-{''.join(_CODE_WORDS[letter] for letter in found[2])}-{found[3]}" if found else None
    return _ODD_CODES.get(code, by_rule)


def _partition(region: str) -> tuple[str, str]:
    """The name that ARNs give to a region's part of AWS, and the end of its host names.

    https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
    names them; the host names are those of the SDKs' endpoint data.
    """
    return next((name, domain) for start, name, domain in _PARTITIONS if region.startswith(start))


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

    Raises ConfigurationError for another kind of class and for more than twelve hours.
    https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
    """
    import inspect
    import random

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
        connection.renewal_due = now + seconds * random.uniform(0.9, 1)
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
    return f"{_ALGORITHM}\n{timestamp}\n{scope}\n{hashlib.sha256(canonical_request.encode()).hexdigest()}"


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
    for name in _SIGNING_PARAMS.intersection(name for name, _ in params):
        raise ConfigurationError(f"params: {name} is presign's own to add; leave it out")
    return _Presigner(_snapshot(credentials), service, region, host, params, timestamp, expires).url(timestamp)


class _Presigner:
    """One presigned request for one day: all that stays the same when only the time of day changes."""

    def __init__(
        self,
        credentials: StaticCredentials,
        service: str,
        region: str,
        host: str,
        params: list[tuple[str, str]],
        timestamp: str,
        expires: int,
    ) -> None:
        date = timestamp[:8]
        self._serves = (credentials.access_key, credentials.secret_key, credentials.token, date)
        self._scope = f"{date}/{region}/{service}/aws4_request"
        self._key = signing_key(credentials.secret_key, date, region, service)
        signed = [
            *params,
            ("X-Amz-Algorithm", _ALGORITHM),
            ("X-Amz-Credential", f"{credentials.access_key}/{self._scope}"),
            ("X-Amz-Date", timestamp),
            ("X-Amz-Expires", str(expires)),
            ("X-Amz-SignedHeaders", "host"),
        ]
        if credentials.token:
            signed.append(("X-Amz-Security-Token", credentials.token))
        encoded = _encoded(signed)  # once, for the canonical query and the URL: it takes longer than the hashes
        # This can only be the parameter itself: what is encoded holds no "&" and no "=".
        date_param = f"&X-Amz-Date={timestamp}"
        request = _canonical_request(host, _joined(sorted(encoded)))
        self._request_start, self._request_end = request.split(date_param)
        self._url_start, self._url_end = f"{host}/?{_joined(encoded)}".split(date_param)

    def serves(self, credentials: StaticCredentials, timestamp: str) -> bool:
        """Whether these are the credentials and the day that this was made for."""
        return self._serves == (credentials.access_key, credentials.secret_key, credentials.token, timestamp[:8])

    def url(self, timestamp: str) -> str:
        """The presigned URL, without its scheme, at a time of that day."""
        date_param = f"&X-Amz-Date={timestamp}"
        request = f"{self._request_start}{date_param}{self._request_end}"
        signature = hmac.digest(self._key, string_to_sign(timestamp, self._scope, request).encode(), "sha256").hex()
        return f"{self._url_start}{date_param}{self._url_end}&X-Amz-Signature={signature}"


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


def _is_timestamp(text: object) -> bool:
    if not isinstance(text, str) or not text.isascii() or len(text) != 16:
        return False
    return text[8] == "T" and text[15] == "Z" and (text[:8] + text[9:15]).isdigit()


# --- arguments ---
#
# No error repeats a value: people paste secrets and whole tokens into the wrong argument.

# C0, C1, and the invisible ones that come along when text is pasted: zero width space, word joiner, byte order mark.
_CONTROL_CHARACTERS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x200B, 0x2060, 0xFEFF)))


def _checked_user(user: str) -> str:
    if not isinstance(user, str) or not user:
        raise ConfigurationError(f"user: the id of a user with IAM authentication is wanted, not {_kind(user)}")
    if any(character.isspace() or character in _CONTROL_CHARACTERS for character in user):
        raise ConfigurationError("user: white space and control characters are not part of any user id; remove them")
    if any("\ud800" <= character <= "\udfff" for character in user):
        raise ConfigurationError("user: text with a UTF-8 form is wanted; this holds a lone surrogate")
    return _plain(user)


def _checked_name(argument: str, name: str) -> str:
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"{argument}: a name like 'my-{argument}' is wanted, not {_kind(name)}")
    if not set(name).isdisjoint(".:/"):
        wanted = f"the name of the {argument} is wanted, not its endpoint or ARN"
        raise ConfigurationError(f"{argument}: {wanted}{_probable_name(name)}; or use for_endpoint")
    if not _is_name(name):
        raise ConfigurationError(
            f"{argument}: letters, digits and hyphens, starting with a letter, are wanted, like 'my-{argument}'"
        )
    return name.lower()


def _is_name(text: str) -> bool:
    return text.isascii() and text[:1].isalpha() and text.replace("-", "").isalnum()


def _resolved_region(region: str | None) -> str:
    if region is not None:
        return _checked_region("region", region)
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if os.environ.get(variable):
            return _checked_region(variable, os.environ[variable])
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
        expiration = _parsed_iso8601(expiration)
    elif getattr(expiration, "tzinfo", None) is not None and hasattr(expiration, "timestamp"):
        expiration = expiration.timestamp()
    if isinstance(expiration, bool) or not isinstance(expiration, (int, float)) or not 0 <= expiration < 253402300800:
        raise ConfigurationError(
            "expiration: epoch seconds, ISO 8601 text with a time zone ('2026-01-02T03:04:05Z'),"
            " or a datetime with a time zone is wanted"
        )
    return expiration


def _parsed_iso8601(text: str) -> float | None:
    from datetime import datetime

    moment, zone = text[:19], text[19:]
    if zone.startswith("."):  # before Python 3.11, only fractions of three or six digits are understood
        zone = zone.lstrip(".0123456789")
    if moment[4::3] != "--T::" or not (zone == "Z" or (len(zone) == 6 and zone[0] in "+-")):
        return None  # though Python 3.11 and later understand some of them
    try:
        return datetime.fromisoformat(moment + zone.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


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
# Where EnvironmentCredentials finds what the environment promises. The protocols are described in
# https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html

_ACCESS_KEY = "AWS_ACCESS_KEY_ID"
_SECRET_KEY = "AWS_SECRET_ACCESS_KEY"
_SESSION_TOKEN = "AWS_SESSION_TOKEN"
_EXPIRATION = "AWS_CREDENTIAL_EXPIRATION"
_TOKEN_FILE = "AWS_WEB_IDENTITY_TOKEN_FILE"
_RELATIVE_URI = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
_FULL_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_METADATA_ENDPOINT = "AWS_EC2_METADATA_SERVICE_ENDPOINT"

_NOTHING_SET = f"no credentials: none of {_ACCESS_KEY}, {_TOKEN_FILE}, {_RELATIVE_URI} and {_FULL_URI} is set"

_CONTAINER_HOST = "169.254.170.2"
_CONTAINER_HOSTS = (_CONTAINER_HOST, "169.254.170.23", "fd00:ec2::23")
_SIZE_LIMIT = 65536  # bytes of a response or a token file; honest ones take a few thousand
_ATTEMPTS = 3  # as many as the SDKs allow for containers and STS


class _Source:
    """One place to fetch credentials from: what to call it, which variable configures it, how to ask it."""

    def __init__(
        self, name: str, variable: str, fetch: Callable[[Mapping[str, str], float], StaticCredentials]
    ) -> None:
        self.name = name
        self.variable = variable
        self._fetch = fetch

    def retrieve(self, environ: Mapping[str, str], timeout: float) -> StaticCredentials:
        """Fetch once, within ``timeout`` seconds; any failure is a CredentialsError that names the source."""
        try:
            credentials = self._fetch(environ, time.monotonic() + timeout)
        except Error as error:
            raise CredentialsError(f"{self.origin(environ)}: {error}") from error
        if _expired(credentials, time.time()):
            raise CredentialsError(f"{self.origin(environ)}: it gave credentials, but {_expiry(credentials)}")
        return credentials

    def origin(self, environ: Mapping[str, str]) -> str:
        return f"{self.name} ({self.variable})" if environ.get(self.variable) else self.name


def _static_keys(
    access_key: str | None, secret_key: str | None, token: str | None, expiration: str | None
) -> StaticCredentials | None:
    if not access_key and not secret_key:
        return None
    for variable, value in ((_ACCESS_KEY, access_key), (_SECRET_KEY, secret_key), (_SESSION_TOKEN, token or "-")):
        if not value:
            raise CredentialsError(f"static keys: {variable} is not set, but the other one of the two keys is")
        if _flaw(value):
            raise CredentialsError(f"static keys: {variable}: {_flaw(value)}")
    try:
        return StaticCredentials(access_key or "", secret_key or "", token, expiration or None)
    except ConfigurationError:
        raise CredentialsError(
            f"static keys: {_EXPIRATION}: ISO 8601 text with a time zone is wanted, like '2026-01-02T03:04:05Z'"
        ) from None


def _configured_source(environ: Mapping[str, str]) -> _Source:
    if environ.get(_TOKEN_FILE):
        return _Source("web identity", _TOKEN_FILE, _fetch_web_identity)
    if environ.get(_RELATIVE_URI):
        return _Source("container credentials", _RELATIVE_URI, _fetch_container)
    if environ.get(_FULL_URI):
        return _Source("container credentials", _FULL_URI, _fetch_container)
    if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true":
        return _Source("EC2 instance metadata", _METADATA_ENDPOINT, _fetch_instance_metadata)
    raise CredentialsError(f"{_NOTHING_SET}, and AWS_EC2_METADATA_DISABLED rules out EC2 instance metadata")


def _fetch_web_identity(environ: Mapping[str, str], deadline: float) -> StaticCredentials:
    """Exchange the token in a file, which rotates, for credentials of a role.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
    """
    from urllib.parse import urlencode

    role = environ.get("AWS_ROLE_ARN")
    session = environ.get("AWS_ROLE_SESSION_NAME") or f"iamcacheauth-{int(time.time())}"
    if not role:
        raise CredentialsError("AWS_ROLE_ARN is not set")
    if _flaw(role + session):
        raise CredentialsError("AWS_ROLE_ARN or AWS_ROLE_SESSION_NAME holds white space or characters outside ASCII")
    token = _read_token_file(_TOKEN_FILE, environ[_TOKEN_FILE]).strip()
    if _flaw(token):
        raise CredentialsError("the file holds no token, or more than one line")
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": session,
        "WebIdentityToken": token,
    }
    endpoint = _sts_endpoint(environ)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    def ask(attempt_deadline: float) -> StaticCredentials:
        status, _, body = _http(
            "POST", endpoint, attempt_deadline, headers, urlencode(form), environ.get("AWS_CA_BUNDLE")
        )
        answer = _parsed_xml(body)
        if status == 200:
            return _credentials_from(answer, "SessionToken")
        code, message = (_before_secret(_one_line(answer.get(name, "")), token) for name in ("Code", "Message"))
        raise _refusal(status, f"{code}: {message}" if code else "", temporary=code == "IDPCommunicationError")

    return _retrying(ask, deadline, _ATTEMPTS)


def _sts_endpoint(environ: Mapping[str, str]) -> str:
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-sts-regionalized-endpoints.html"""
    for variable in ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"):
        if environ.get(variable):
            return _checked_url(variable, environ[variable])
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if environ.get(variable):
            region = _checked_region(variable, environ[variable])
            return f"https://sts.{region}.{_partition(region)[1]}"
    return "https://sts.amazonaws.com"


def _fetch_container(environ: Mapping[str, str], deadline: float) -> StaticCredentials:
    """Ask the endpoint that ECS, Fargate, EKS Pod Identity or Lambda SnapStart runs beside the container.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
    """
    if environ.get(_RELATIVE_URI):
        if not environ[_RELATIVE_URI].startswith("/"):
            raise CredentialsError("a path that starts with a slash is wanted")
        url = _checked_url(_RELATIVE_URI, f"http://{_CONTAINER_HOST}{environ[_RELATIVE_URI]}", _CONTAINER_HOSTS)
    else:
        url = _checked_url(_FULL_URI, environ[_FULL_URI], _CONTAINER_HOSTS)
    headers = {"Accept": "application/json"}
    authorization = _container_authorization(environ)
    if authorization:
        headers["Authorization"] = authorization

    def ask(attempt_deadline: float) -> StaticCredentials:
        status, _, body = _http("GET", url, attempt_deadline, headers, ca_file=environ.get("AWS_CA_BUNDLE"))
        if status != 200:
            raise _refusal(status)
        return _credentials_from(_parsed_json(body), "Token")

    return _retrying(ask, deadline, _ATTEMPTS, attempt_seconds=2.0)


def _container_authorization(environ: Mapping[str, str]) -> str:
    variable = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
    if environ.get(variable):
        authorization = _read_token_file(variable, environ[variable])
    else:
        variable = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
        authorization = environ.get(variable) or ""
    if not authorization.isascii() or not authorization.isprintable():
        raise CredentialsError(f"{variable}: line breaks and characters outside ASCII cannot go into a header")
    return authorization


def _fetch_instance_metadata(environ: Mapping[str, str], deadline: float) -> StaticCredentials:
    """Ask EC2's instance metadata service, version 2: a session token first, then the role, then its keys.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
    """
    endpoint = _metadata_endpoint(environ)
    attempts = int(_number(environ, "AWS_METADATA_SERVICE_NUM_ATTEMPTS"))
    seconds = _number(environ, "AWS_METADATA_SERVICE_TIMEOUT")

    def ask(method: str, path: str, headers: dict[str, str]) -> bytes:
        def attempt(attempt_deadline: float) -> bytes:
            status, _, body = _http(method, endpoint + path, attempt_deadline, headers)
            if status != 200:
                raise _refusal(status, "the instance has no role" if status == 404 and method == "GET" else "")
            return body

        return _retrying(attempt, deadline, attempts, seconds)

    try:
        token = ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "21600"})
    except CredentialsError as error:
        hint = " (from inside a container, the instance's metadata hop limit must be 2 or more)"
        unanswered = hint if isinstance(error, _TemporaryError) else ""
        absent = "" if environ.get(_METADATA_ENDPOINT) else f"; {_NOTHING_SET}"
        raise CredentialsError(f"{endpoint}: {error}{unanswered}{absent}") from error
    headers = {"X-aws-ec2-metadata-token": _one_word(token, "session token")}
    roles = "/latest/meta-data/iam/security-credentials/"
    role = _one_word(ask("GET", roles, headers), "role name")
    answer = _parsed_json(ask("GET", f"{roles}{uri_encode(role)}", headers))
    if answer.get("Code") != "Success":
        raise CredentialsError(f"its answer has the Code {_one_line(str(answer.get('Code')))}, not Success")
    return _credentials_from(answer, "Token")


def _metadata_endpoint(environ: Mapping[str, str]) -> str:
    if environ.get(_METADATA_ENDPOINT):
        return _checked_url(_METADATA_ENDPOINT, environ[_METADATA_ENDPOINT], None).rstrip("/")
    mode = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE") or "ipv4"
    endpoints = {"ipv4": "http://169.254.169.254", "ipv6": "http://[fd00:ec2::254]"}
    if mode.lower() not in endpoints:
        raise CredentialsError("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: ipv4 or ipv6 is wanted")
    return endpoints[mode.lower()]


def _number(environ: Mapping[str, str], variable: str) -> float:
    text = environ.get(variable) or "1"
    if not (text.isascii() and text.isdigit() and len(text) < 5 and int(text) > 0):
        raise CredentialsError(f"{variable}: a whole number from 1 to 9999 is wanted")
    return int(text)


def _read_token_file(variable: str, path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(_SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its path is malformed"
        # Not from the error, which quotes the path: by mistake, that may be the token itself.
        raise CredentialsError(f"{variable}: its file cannot be read: {reason}") from None
    if not 0 < len(content) <= _SIZE_LIMIT:
        raise CredentialsError(f"{variable}: its file is {'too large' if content else 'empty'}")
    return content.decode("latin-1")  # every byte has a meaning in it; what is not ASCII is refused later


def _one_word(body: bytes, what: str) -> str:
    word = body.decode("latin-1").strip()
    if _flaw(word):
        raise CredentialsError(f"its answer is no {what}")
    return word


def _parsed_json(body: bytes) -> dict[str, object]:
    import json

    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):  # the cause would quote the body
        answer = None
    if not isinstance(answer, dict):
        raise CredentialsError("its answer is not a JSON object")
    return answer


def _parsed_xml(body: bytes) -> dict[str, str]:
    """The text of every element under its name without namespace; empty if it is not XML."""
    from xml.etree import ElementTree

    if b"<!" in body:  # a document type, which AWS never sends, can make entities expand without end
        return {}
    try:
        root = ElementTree.fromstring(body.decode())
    except (SyntaxError, ValueError):
        return {}
    return {element.tag.rpartition("}")[2]: element.text or "" for element in root.iter()}


def _credentials_from(answer: Mapping[str, object], token_field: str) -> StaticCredentials:
    values = []
    for field in ("AccessKeyId", "SecretAccessKey", token_field, "Expiration"):
        value = answer.get(field)
        if not isinstance(value, str) or not value:
            raise CredentialsError(f"its answer has no {field}")
        values.append(value)
    try:
        return StaticCredentials(*values)
    except ConfigurationError as error:
        raise CredentialsError(f"its answer is malformed: {error}") from error


def _one_line(text: str) -> str:
    """Somebody else's text made fit for a line of ours."""
    words = "".join(character if character.isprintable() else " " for character in text).split()
    return " ".join(words)[:300]


def _before_secret(text: str, secrets: str) -> str:
    """The text up to where it repeats eight characters of the secrets, which may be percent-encoded."""
    from urllib.parse import unquote

    secrets = f"{secrets} {unquote(secrets)}"
    for start in range(len(text) - 7):
        if text[start : start + 8] in secrets:
            return text[:start] + "…"
    return text


# --- HTTP ---
#
# Metadata endpoints hand out keys, and are asked while somebody waits for a connection. So: no proxy,
# no redirect, and an end to everything by a deadline, which is a time of time.monotonic().


class _TemporaryError(CredentialsError):
    """A failure that another attempt may mend: the network's, or the server's own."""


def _retrying(
    ask: Callable[[float], _Answer], deadline: float, attempts: int, attempt_seconds: float | None = None
) -> _Answer:
    """What ``ask``, called with its own deadline, returns in the first attempt that does not fail temporarily.

    attempt_seconds: the limit of one attempt; None for an even share of what is left.
    """
    pause = 0.1
    while True:
        now = time.monotonic()
        try:
            return ask(min(deadline, now + (attempt_seconds or (deadline - now) / attempts)))
        except _TemporaryError:
            attempts -= 1
            if attempts == 0 or time.monotonic() + pause >= deadline:
                raise
        time.sleep(pause)
        pause *= 2


def _refusal(status: int, detail: str = "", *, temporary: bool = False) -> CredentialsError:
    text = f"HTTP status {status}" + (f", {detail}" if detail else "")
    if 300 <= status < 400:
        text += "; redirects are not followed"
    return _TemporaryError(text) if temporary or status >= 500 else CredentialsError(text)


def _http(
    method: str,
    url: str,
    deadline: float,
    headers: dict[str, str],
    body: str | None = None,
    ca_file: str | None = None,
) -> tuple[int, HTTPMessage, bytes]:
    """One exchange: the response's status, headers and body. No answer at all is a _TemporaryError."""
    import http.client

    try:
        return _exchange(method, url, deadline, headers, body, ca_file)
    except Error:
        raise
    except OSError as error:
        untrusted = hasattr(error, "verify_message")
        raise (CredentialsError if untrusted else _TemporaryError)(_reason(error)) from error
    except (ValueError, http.client.HTTPException) as error:  # not as the cause: it may quote what was sent
        raise _TemporaryError(f"no HTTP answer ({type(error).__name__})") from None


def _exchange(
    method: str, url: str, deadline: float, headers: dict[str, str], body: str | None, ca_file: str | None
) -> tuple[int, HTTPMessage, bytes]:
    import http.client
    from contextlib import closing
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host = parts.hostname or ""
    port = parts.port or (443 if secure else 80)  # left to http.client, it would be a piece of an IPv6 address
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    context = _tls_context("AWS_CA_BUNDLE", ca_file) if secure else None
    client: http.client.HTTPConnection
    if secure:  # without a context it would make one, and read all of the system's trust store
        client = http.client.HTTPSConnection(host, port, context=context)
    else:
        client = http.client.HTTPConnection(host, port)
    with closing(client):
        client.sock = _connect(host, port, deadline)
        if context is not None:
            client.sock = context.wrap_socket(client.sock, server_hostname=host)
            client.sock.settimeout(_left(deadline))
        with closing(http.client.HTTPResponse(client.sock)) as response:
            response.fp.close()
            # Before the request and the wait that follows: making a file swallows a KeyboardInterrupt that comes then.
            response.fp = _file_until(deadline, client.sock)
            client.request(method, target, body, {**headers, "Connection": "close"})
            response.begin()
            content = response.read(_SIZE_LIMIT + 1)
            if len(content) > _SIZE_LIMIT:
                raise CredentialsError(f"its answer is larger than {_SIZE_LIMIT} bytes")
            if response.length:
                raise _TemporaryError("the connection was closed in the middle of its answer")
            return response.status, response.headers, content


def _checked_url(variable: str, url: str, plain_http_hosts: tuple[str, ...] | None = ()) -> str:
    """``url``, if it may be asked for keys: https anywhere, http to loopback and the hosts given; None for any."""
    from urllib.parse import urlsplit

    malformed = CredentialsError(f"{variable}: a URL that starts with http:// or https:// is wanted")
    try:
        parts = urlsplit("" if _flaw(url) else url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise malformed from None
    if not host or parts.scheme not in ("http", "https"):
        raise malformed
    if "@" in parts.netloc:
        raise CredentialsError(f"{variable}: a URL without user name and password is wanted")
    plain_http_allowed = plain_http_hosts is None or host in plain_http_hosts or _is_loopback(host)
    if parts.scheme == "http" and not plain_http_allowed:
        raise CredentialsError(f"{variable}: https is wanted; plain http only goes to this machine or its agents")
    return url


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _connect(host: str, port: int, deadline: float) -> socket:
    """A connection to the first of the host's addresses that answers, each given an even share of the time."""
    import socket

    failure = OSError()
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        try:
            connection = socket.socket(family, kind, protocol)
        except OSError as error:  # such as where the kernel has no IPv6, which names resolve to all the same
            failure = error
            continue
        try:
            connection.settimeout(_left(deadline) / (len(addresses) - tried))
            connection.connect(address)
            connection.settimeout(_left(deadline))
            return connection
        except OSError as error:
            connection.close()
            failure = error
    raise failure


def _tls_context(setting: str, ca_file: str | None) -> SSLContext:
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise ConfigurationError(f"{setting}: a file of PEM certificates is wanted: {_reason(error)}") from error


def _file_until(deadline: float, connection: socket) -> BufferedReader:
    """The connection as a file, each read of which ends by the deadline, however slowly bytes arrive."""
    import io

    class Reader(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            connection.settimeout(_left(deadline))
            return connection.recv_into(buffer)

    return io.BufferedReader(Reader())


def _reason(error: OSError) -> str:
    """A failure of the network or of a file in a few words, without anything that the other side sent."""
    import socket
    import ssl

    if isinstance(error, (socket.timeout, TimeoutError)):
        return "no complete answer in time"
    if isinstance(error, socket.gaierror):
        return "the host name does not resolve"
    verification = getattr(error, "verify_message", None)
    if verification:
        return f"the certificate is not trusted: {verification}"
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError, BrokenPipeError)):
        return "the connection was closed"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS failed: {error.reason.lower().replace('_', ' ')}"
    return error.strerror or f"the connection failed ({type(error).__name__})"


# --- diagnosis: explain ---
#
# A refused login is always the same WRONGPASS. explain reads a token and says what it claims and what is
# wrong with it; check, below, goes all the way to the cache. Neither prints anything that may be a secret.

_CLOCK_TOLERANCE = 300  # seconds; AWS takes signatures from a little way into the future
_SERVICES = {"elasticache": "ElastiCache", "memorydb": "MemoryDB"}
_TOKEN_FORM = "One reads NAME/?Action=connect&User=USER&X-Amz-Algorithm=…, NAME being the cache's own name."
_PARAM_FORMS = {  # what every token has: the form as a regular expression, and in words
    "Action": ("connect", "connect"),
    "User": (r"\S+", "one word"),
    "X-Amz-Algorithm": (_ALGORITHM, _ALGORITHM),
    "X-Amz-Credential": (r"([^/]+/){4}aws4_request", "KEY/DATE/REGION/SERVICE/aws4_request"),
    "X-Amz-Date": ("[0-9]{8}T[0-9]{6}Z", "a time like 20260102T030405Z"),
    "X-Amz-Expires": ("[0-9]{1,9}", "a number of seconds"),
    "X-Amz-SignedHeaders": ("host", "host"),
    "X-Amz-Signature": ("[0-9a-f]{64}", "64 hexadecimal digits"),
}


class _Explanation:
    """What a token claims, and what is wrong with it, the most certain first."""

    def __init__(self, text: str, now: float) -> None:
        self.claims: dict[str, str] = {}
        self.problems: list[str] = []
        host, _, query = self._unwrapped(text.strip()).partition("?")
        self._params = self._parsed(query)
        self._resource_types = {name: value for name, value in self._params.items() if "resource" in name.lower()}
        if self._params.keys().isdisjoint(("Action", "X-Amz-Credential")):
            self.problems = [f"This is not an IAM authentication token. {_TOKEN_FORM}"]
        elif self._is_whole():  # or pieces of its secrets may be anywhere
            access_key, date, region, service, _ = self._params["X-Amz-Credential"].split("/")
            self._explain_service(service)
            self._explain_names(host, service)
            self._claim("region", region)
            self._explain_access_key(access_key)
            self._explain_times(date, now)
            unknown = self._params.keys() - _SIGNING_PARAMS.union(_PARAM_FORMS) - self._resource_types.keys()
            self._problem_if(unknown, "It has parameters that no token has. Sign without them.")

    def lines(self) -> list[str]:
        """The report, ready to print."""
        claims = [f"{name:<13}{value}".rstrip() for name, value in self.claims.items()]
        if not self.problems:
            return [*claims, "", "Nothing is wrong with what it says. The rest only the service knows: run check."]
        problems = _listed("What is wrong, the most certain first:", self.problems)
        return [*claims, "", *problems] if claims else problems

    def _problem_if(self, wrong: object, problem: str) -> None:
        if wrong:
            self.problems.append(problem)

    def _claim(self, name: str, value: str) -> None:
        from urllib.parse import unquote

        secrets = f"{self._params['X-Amz-Signature']} {self._params.get('X-Amz-Security-Token')}"
        plain = unquote(value)
        harmless = value.isprintable() and len(value) <= 64 and _before_secret(plain, secrets) == plain
        self.claims[name] = value if harmless else "(hidden: it may hold a secret)"

    def _unwrapped(self, text: str) -> str:
        """The token, out of what other programs wrapped it in."""
        from urllib.parse import unquote

        if len(text.split()) > 1:
            self.problems.append("It holds white space or a line break. Pass it on as one word.")
            before, question_mark, query = text.partition("?")
            text = "".join([*before.split()[-1:], question_mark, *query.split()])
        if text[:1] in ("'", '"', "`"):
            self.problems.append("It is wrapped in quotes. Remove them: they are not part of it.")
            text = text.strip("'\"`")
        if "?" not in text and "%3f" in text.lower():
            self.problems.append("All of it is percent-encoded, as for a URL. Pass it on as it was made.")
            text = unquote(text)
        for escaped, language in (("&amp;", "HTML"), ("\\u0026", "JSON")):
            self._problem_if(
                escaped in text, f"Each '&' is written as in {language}, {escaped}. Pass it on as it was made."
            )
            text = text.replace(escaped, "&")
        if "://" in text.partition("?")[0]:
            self.problems.append("It starts with a scheme. Remove everything up to and including '://'.")
            text = text.partition("://")[2]
        return text

    def _parsed(self, query: str) -> dict[str, str]:
        """The decoded parameters, of which each should be there once and be encoded once."""
        import re
        from collections import Counter
        from urllib.parse import unquote

        params = query.split("&")
        names = [param.partition("=")[0] for param in params]
        twice = [name for name, count in Counter(names).items() if count > 1]
        self._problem_if(twice, f"There twice: {_printable_names(twice)}. Sign anew, with each parameter once.")
        for flaw, pattern in (
            ("A '%' that encodes nothing", "%(?![0-9A-Fa-f]{2})"),
            ("Percent-encoded twice", "^X-Amz-.*%25[0-9A-Fa-f]{2}"),  # a user may hold a '%'
            ("A '+', which stands for a space", r"\+"),
        ):
            where = [name for name, param in zip(names, params) if re.search(pattern, param)]
            self._problem_if(where, f"{flaw}: {_printable_names(where)}. Pass the token on as it was made.")
        values = [unquote(param.partition("=")[2]) for param in params]
        return {name: unquote(value) if name in _SIGNING_PARAMS else value for name, value in zip(names, values)}

    def _is_whole(self) -> bool:
        import re

        missing = [name for name in _PARAM_FORMS if not self._params.get(name)]
        if missing:
            self.problems.insert(0, f"Missing: {', '.join(missing)}. Pass on all of it; in a shell, in quotes.")
            return False
        malformed = [
            f"{name} is not {words}. Sign anew, and pass on all of it."
            for name, (form, words) in _PARAM_FORMS.items()
            if not re.fullmatch(form, self._params[name])
        ]
        self.problems += malformed
        return not malformed

    def _explain_service(self, service: str) -> None:
        serverless = self._resource_types == {"ResourceType": "ServerlessCache"}
        kind = (" Serverless" if serverless else ", not serverless") if service == "elasticache" else ""
        self._claim("service", _SERVICES.get(service, service) + kind)
        problem = "MemoryDB knows no ResourceType, as nothing there is serverless. Leave it out."
        self._problem_if(service == "memorydb" and self._resource_types, problem)
        self._problem_if(
            service not in _SERVICES, "It is signed for another service. Sign for elasticache or memorydb."
        )
        problem = "ResourceType is misspelt. It is ResourceType=ServerlessCache, or not there at all."
        self._problem_if(service != "memorydb" and self._resource_types and not serverless, problem)

    def _explain_names(self, host: str, service: str) -> None:
        kind = "cluster" if service == "memorydb" else "cache"
        name, slash, path = host.partition("/")
        user = self._params["User"]
        self._claim(kind, "" if "=" in name else name)  # the end of another token may hold its signature
        self._claim("user", user)
        if not set(name).isdisjoint(".:"):
            guess = _probable_name(name) if self.claims[kind] == name else ""
            self.problems.append(f"It is signed for an endpoint. Sign for the {kind}'s name{guess}.")
        elif not _is_name(name) or not slash or path:
            self.problems.append(f"It does not start with the {kind}'s name and '/?'. {_TOKEN_FORM}")
        elif name != name.lower():
            self.problems.append(f"The {kind}'s name has capitals. AWS keeps it in lower case: sign for that.")
        if user != user.lower() and service == "elasticache":
            self.problems.append("The user id has capitals. ElastiCache keeps it in lower case: sign for that.")

    def _explain_access_key(self, access_key: str) -> None:
        kind = {"AKIA": "permanent", "ASIA": "temporary"}.get(access_key[:4], "of an unknown kind")
        self._claim("access key", f"{_shortened(access_key)}, {kind}")
        session_token = self._params.get("X-Amz-Security-Token")
        problem = "A temporary key (ASIA) signed it without its session token. Set AWS_SESSION_TOKEN as well."
        self._problem_if(kind == "temporary" and not session_token, problem)
        problem = "A permanent key (AKIA) signed it with a session token. Unset AWS_SESSION_TOKEN."
        self._problem_if(kind == "permanent" and session_token, problem)

    def _explain_times(self, scope_date: str, now: float) -> None:
        from datetime import datetime

        timestamp, lifetime = self._params["X-Amz-Date"], int(self._params["X-Amz-Expires"])
        problem = (
            f"Its lifetime, X-Amz-Expires, is not from 1 to {_TOKEN_LIFETIME} seconds. Sign with {_TOKEN_LIFETIME}."
        )
        self._problem_if(not 1 <= lifetime <= _TOKEN_LIFETIME, problem)
        problem = "X-Amz-Credential and X-Amz-Date differ in the date. Sign with one time, in UTC."
        self._problem_if(scope_date != timestamp[:8], problem)
        try:
            signed = datetime.strptime(timestamp, "%Y%m%dT%H%M%S%z").timestamp()
        except ValueError:
            self.problems.append("X-Amz-Date is no time there is. Sign anew.")
            return
        age = now - signed
        left = lifetime - age
        self._claim("signed", f"{_utc(signed)}, {f'in {_duration(age)}' if age < 0 else f'{_duration(age)} ago'}")
        self._claim("valid until", f"{_utc(signed + lifetime)}, {_duration(left)} {'left' if left > 0 else 'ago'}")
        self._problem_if(left <= 0, f"It expired {_duration(left)} ago. Sign a new one for every connection.")
        problem = "It is not valid yet. Set the clock of the machine that signed it, or of this one."
        self._problem_if(age < -_CLOCK_TOLERANCE, problem)


def _run_explain(options: Any) -> int:
    if sys.stdin is None:
        raise ConfigurationError("explain: there is no standard input to read a token from")
    stream = getattr(sys.stdin, "buffer", sys.stdin)
    if sys.stdin.isatty() and sys.stderr is not None:
        print("Paste a token and end the input (Ctrl-D).", file=sys.stderr)
    content = stream.read(_SIZE_LIMIT)
    text = content if isinstance(content, str) else content.decode("utf-8-sig", "replace")
    explanation = _Explanation(text, time.time())
    _output(*explanation.lines())
    return 1 if explanation.problems else 0


def _duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    left = round(abs(seconds))
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def _printable_names(names: Iterable[str]) -> str:
    """Names of parameters to print; one that tokens do not have may be a piece of a secret."""
    known = _SIGNING_PARAMS.union(_PARAM_FORMS)
    return ", ".join(dict.fromkeys(name if name in known else "another parameter" for name in names))


def _secrets_in(presigned: str) -> str:
    """The session token, if there is one, and the signature of what presign() made."""
    after = presigned.partition("&X-Amz-SignedHeaders=host")[2]
    return " ".join(param.partition("=")[2] for param in after.split("&"))


def _wrapped(text: str, start: str = "") -> list[str]:
    import textwrap

    indent = " " * len(start)
    return textwrap.wrap(
        text, 96, initial_indent=start, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _listed(heading: str, texts: Sequence[str]) -> list[str]:
    """A single text as it is, several numbered and under a heading."""
    if len(texts) == 1:
        return _wrapped(texts[0])
    return [heading, *(line for number, text in enumerate(texts, 1) for line in _wrapped(text, f"{number}. "))]


# --- diagnosis: check ---

_STEP_LINE = "{:<12}{:<8}{:>7.1f} ms  "

_NO_CREDENTIALS = 'To use a profile or SSO: eval "$(aws configure export-credentials --format env)"'
_UNRESOLVED = (
    "The endpoint is mistyped, or belongs to a cache that was deleted: compare it with the console.",
    "This machine's resolver does not know AWS's private names: is it in the cache's VPC, with DNS support on?",
)
_NO_ANSWER = (
    "The cache's security group does not let this machine in: it needs an inbound rule for this port.",
    "This machine is outside the cache's VPC, without peering or a VPN: caches have private addresses.",
    "A network ACL, a route table or this machine's own security group drops the packets.",
)
_REFUSED = "Nothing listens on this port: caches use 6379 unless configured otherwise, serverless ones 6379 and 6380."
_UNTRUSTED = "This machine's trust store lacks Amazon's root certificates: install ca-certificates, or give --ca-file."
_OUTDATED = "This machine's clock is wrong, or the certificate was not renewed in time."
_MISNAMED = (
    "The endpoint is an alias or an address, which the certificate does not name: use the endpoint that AWS shows."
)
_CERTIFICATE_FLAWS = {9: _OUTDATED, 10: _OUTDATED, 62: _MISNAMED, 64: _MISNAMED}  # by OpenSSL's X509_V_ERR_ numbers
_INTERCEPTED = "Something between here and the cache answers in its place."
_PLAINTEXT = (
    "Encryption in transit is off for this cache, and IAM needs it: turn it on (it can be changed in place).",
    "This is another server, or another port, than the cache's TLS port.",
)
_NOT_A_CACHE = (
    "What answers is not ElastiCache or MemoryDB: compare host and port with the console.",
    "Something between here and the cache cuts or changes connections.",
)
_ANSWERS = {
    "NOPERM": "The login worked, but the user's access string does not allow this command, which is no fault of IAM.",
    "NOAUTH": "The server forgot the login: something between here and the cache changes connections.",
    "MOVED": "This is a node of a cluster that sends clients elsewhere: use the configuration endpoint.",
    "ERR wrong number": "The server knows no users, as Redis before version 6: it is another server, or an old one.",
}
_STS_ERRORS = {
    "ExpiredToken": "The credentials have expired: get new ones. A token lives no longer than what it was signed with.",
    "InvalidClientTokenId": "AWS does not know these keys: they were deleted or switched off, or the session token is"
    " missing or belongs to others.",
    "SignatureDoesNotMatch": "The secret key does not belong to the access key: copy the pair anew.",
}
_USER_CAUSES = {
    "elasticache": "User {0} is not in the cache's user group, is not of type iam, is off, or has a user name that"
    " differs from its id. See: aws elasticache describe-users --user-id {0}",
    "memorydb": "User {0} is not in the cluster's ACL, is not of type iam, is off, or is written with other capitals."
    " See: aws memorydb describe-users --user-name {0}",
}


class _StepFailed(Error):
    """A step of check that did not work: what was seen, what may have caused it, and what else to print."""

    def __init__(self, seen: str, *causes: str, postscript: str = "") -> None:
        super().__init__(seen)
        self.causes = causes
        self.postscript = postscript


class _Check:
    """From here to the cache: each step is timed and printed, and explained if it fails."""

    def __init__(self, options: Any) -> None:
        self._generator = _generator(options)
        self._host, self._port = _host_and_port(options.endpoint)
        self._tls_context = _tls_context("--ca-file", options.ca_file)
        self._timeout = _checked_timeout(options.timeout)

    def run(self) -> int:
        """Take the steps and return the exit status."""
        try:
            self._take_steps()
        except _StepFailed as failure:
            _output("", *_listed("What may have caused this, the most likely first:", failure.causes))
            if failure.postscript:
                _output("", failure.postscript)
            return 1
        return 0

    def _take_steps(self) -> None:
        credentials = _step("credentials", self._find_credentials)
        token = _step("token", self._sign, credentials)
        flaws = _Explanation(token, time.time()).problems
        doubts = _endpoint_doubts(self._generator, self._host)
        for warning in (*flaws, *doubts):
            _output(*_wrapped(warning, "  warning: "))
        connection = _step("connect", self._connect)
        try:
            connection = _step("tls", self._start_tls, connection)
            _step("auth", self._ask, connection, "+OK", "AUTH", self._generator.user, token)
            _step("ping", self._ask, connection, "+PONG", "PING")
        except _StepFailed as failure:
            if not str(failure).startswith("WRONGPASS"):
                raise
            arn, faults = _identify(credentials, self._generator.region, min(self._timeout, 3.0))
            if flaws or faults:
                raise _StepFailed(str(failure), *flaws, *faults, *doubts) from failure
            causes = (*doubts, *_usual_causes(self._generator, self._host, arn))
            raise _StepFailed(str(failure), *causes, postscript=_policy(self._generator, arn)) from failure
        finally:
            connection.close()

    def _find_credentials(self) -> tuple[StaticCredentials, str]:
        try:
            credentials = self._generator._provider()
        except CredentialsError as error:
            raise _StepFailed(str(error), _NO_CREDENTIALS) from error
        return credentials, f"{_described(credentials)}, from {_origin(os.environ)}"

    def _sign(self, credentials: StaticCredentials) -> tuple[str, str]:
        generator = self._generator
        kind = "serverless" if generator._serverless else generator.service
        seen = f"user {generator.user}, {kind} {generator.name}, region {generator.region}"
        return generator._sign(credentials, time.time()), seen

    def _connect(self) -> tuple[socket, str]:
        import socket

        seen = self._host
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            seen = f"{', '.join(str(address[0]) for *_, address in found)} port {self._port}"
            return _connect(self._host, self._port, time.monotonic() + self._timeout), seen
        except (socket.gaierror, UnicodeError) as error:  # a label that is empty or too long is a UnicodeError
            raise _StepFailed(f"{seen}: the name does not resolve", *_UNRESOLVED) from error
        except ConnectionRefusedError as error:
            raise _StepFailed(f"{seen}: connection refused", _REFUSED) from error
        except (socket.timeout, TimeoutError) as error:
            raise _StepFailed(f"{seen}: no answer within {self._timeout:g} s", *_NO_ANSWER) from error
        except OSError as error:
            raise _StepFailed(f"{seen}: {_reason(error)}", *_NO_ANSWER) from error

    def _start_tls(self, connection: socket) -> tuple[SSLSocket, str]:
        import ssl

        try:
            connection.settimeout(self._timeout)
            tls = self._tls_context.wrap_socket(connection, server_hostname=self._host)
        except ssl.SSLCertVerificationError as error:
            flaw = _CERTIFICATE_FLAWS.get(error.verify_code, _UNTRUSTED)
            raise _StepFailed(_reason(error), flaw, _INTERCEPTED) from error
        except OSError as error:
            if self._speaks_plaintext():
                raise _StepFailed("this port speaks plaintext", *_PLAINTEXT) from error
            raise _StepFailed(f"no TLS here: {_reason(error)}", *_NOT_A_CACHE) from error
        certificate: dict[str, Any] = tls.getpeercert() or {}
        names = [name for _, name in certificate.get("subjectAltName", ())] or [self._host]
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        until = _utc(ssl.cert_time_to_seconds(certificate["notAfter"])).partition("T")[0]
        return tls, f"{tls.version()}, certificate until {until} for {names[0]}{others}"

    def _speaks_plaintext(self) -> bool:
        deadline = time.monotonic() + self._timeout
        try:
            with _connect(self._host, self._port, deadline) as connection:
                connection.sendall(b"PING\r\n")
                return _file_until(deadline, connection).read(1) in (b"+", b"-")
        except OSError:
            return False

    def _ask(self, connection: SSLSocket, wanted: str, *command: str) -> tuple[None, str]:
        """Send a command; anything but the wanted answer is a _StepFailed."""
        words = [word.encode() for word in command]
        deadline = time.monotonic() + self._timeout
        try:
            connection.settimeout(self._timeout)
            connection.sendall(
                b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
            )
            line = _file_until(deadline, connection).readline(1024).decode("latin-1")
        except OSError as error:
            raise _StepFailed(f"no answer to {command[0]}: {_reason(error)}", *_NOT_A_CACHE) from error
        if line == f"{wanted}\r\n":
            return None, wanted[1:]
        answer = _before_secret(_one_line(line), _secrets_in(command[-1]))
        if answer[:1] != "-" or answer == "-":
            seen = "it does not speak the Redis protocol" if line else "the connection was closed"
            raise _StepFailed(f"no answer to {command[0]}: {seen}", *_NOT_A_CACHE)
        explained = [cause for start, cause in _ANSWERS.items() if answer.startswith(f"-{start}")]
        raise _StepFailed(answer[1:], *(explained or [f"The server does not take this {command[0]}, and says why."]))


def _step(name: str, action: Callable[..., tuple[_Answer, str]], *arguments: object) -> _Answer:
    started = time.perf_counter()
    try:
        result, seen = action(*arguments)
    except _StepFailed as failure:
        _print_step(name, "FAILED", started, str(failure))
        raise
    _print_step(name, "ok", started, seen)
    return result


def _print_step(name: str, outcome: str, started: float, seen: str) -> None:
    _output(*_wrapped(seen, _STEP_LINE.format(name, outcome, (time.perf_counter() - started) * 1000)))


def _host_and_port(endpoint: str) -> tuple[str, int]:
    from urllib.parse import urlsplit

    malformed = ConfigurationError("--endpoint: HOST or HOST:PORT is wanted, without a scheme or a path")
    try:
        parts = urlsplit(f"//{endpoint}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise malformed from None
    if not host or parts.netloc != endpoint or "@" in endpoint or _flaw(endpoint):
        raise malformed
    return host, 6379 if port is None else port


def _origin(environ: Mapping[str, str]) -> str:
    return f"static keys ({_ACCESS_KEY})" if environ.get(_ACCESS_KEY) else _configured_source(environ).origin(environ)


def _endpoint_doubts(generator: TokenGenerator, host: str) -> list[str]:
    """What in AWS's own host name contradicts the arguments."""
    found = _parsed_endpoint(host)
    if found is None:
        return []
    if found.service != generator.service:
        return [f"The endpoint is one of {found.service}: use check {found.service}."]
    doubts = []
    if found.serverless != generator._serverless:
        kind = "not of a serverless cache: leave out" if generator._serverless else "of a serverless cache: add"
        doubts.append(f"The endpoint is {kind} --serverless.")
    if found.name not in (None, generator.name):
        doubts.append(f"The endpoint is that of {found.name}, but the token is signed for {generator.name}.")
    if found.region not in (None, generator.region):
        doubts.append(f"The endpoint is in {found.region}, but the token is signed for {generator.region}.")
    if found.tls is False:
        doubts.append("Endpoints of this form belong to caches without encryption in transit, which IAM needs.")
    return doubts


def _identify(credentials: StaticCredentials, region: str, timeout: float) -> tuple[str, list[str]]:
    """Ask STS whose credentials these are, which needs no permission: their ARN if it says so, and what is wrong.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
    """
    from urllib.parse import urlsplit

    started = time.perf_counter()
    try:
        endpoint = urlsplit(_sts_endpoint({**os.environ, "AWS_REGION": region}))
        url = presign(
            credentials,
            service="sts",
            region=region,
            host=endpoint.netloc,
            params=[("Action", "GetCallerIdentity"), ("Version", "2011-06-15")],
            timestamp=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
            expires=_TOKEN_LIFETIME,  # so that STS takes a wrong clock as the cache does
        )
        deadline = time.monotonic() + timeout
        status, headers, body = _http(
            "GET", f"{endpoint.scheme}://{url}", deadline, {}, ca_file=os.environ.get("AWS_CA_BUNDLE")
        )
    except Error as error:
        _print_step("identity", "skipped", started, f"STS cannot be asked: {error}")
        return "", []
    answer = _parsed_xml(body)
    arn, code, message = (_one_line(answer.get(name, "")) for name in ("Arn", "Code", "Message"))
    if status == 200 and arn:
        _print_step("identity", "ok", started, arn)
    else:  # some of AWS's services quote the whole request in the message
        seen = f"STS: {code or f'HTTP status {status}'} {_before_secret(message, _secrets_in(url))}"
        _print_step("identity", "FAILED", started, seen)
    ahead = _seconds_ahead(headers)
    if not -_CLOCK_TOLERANCE < ahead < _TOKEN_LIFETIME or message.startswith(
        ("Signature expired", "Signature not yet")
    ):
        by = f" ({_duration(ahead)} {'behind' if ahead > 0 else 'ahead'})" if ahead else ""
        return arn, [f"This machine's clock is wrong{by}: set it, or run a time service."]
    return arn, [_STS_ERRORS[code]] if code in _STS_ERRORS else []


def _seconds_ahead(headers: HTTPMessage) -> float:
    """How far the clock of the server that sent these is ahead of this machine's."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(headers["Date"]).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _usual_causes(generator: TokenGenerator, host: str, arn: str) -> list[str]:
    """What makes the service refuse a token that nothing is known to be wrong with, the most likely cause first."""
    identity = arn.rpartition(":")[2].split("/")
    who = f"role {identity[1]}" if identity[0] == "assumed-role" else arn or "the identity behind these credentials"
    alias = "The endpoint is an alias, so it does not show whether name, region and --serverless are right: check them."
    return [
        f"IAM does not let {who} connect: attach the policy below to it.",
        _USER_CAUSES[generator.service].format(generator.user),
        *([] if _parsed_endpoint(host) else [alias]),
        "A policy's condition, a permissions boundary or a service control policy forbids it.",
        "The engine is older than Valkey 7.2 or Redis OSS 7.0, the first to know IAM.",
    ]


def _policy(generator: TokenGenerator, arn: str) -> str:
    """The policy that lets an identity log in, ready to paste.

    https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
    https://docs.aws.amazon.com/memorydb/latest/devguide/auth-iam.html
    """
    import json

    account = arn.split(":")[4] if arn.count(":") >= 5 else "ACCOUNT-ID"
    prefix = f"arn:{_partition(generator.region)[0]}:{generator.service}:{generator.region}:{account}:"
    if generator.service == "memorydb":
        resources = [f"{prefix}cluster/{generator.name}", f"{prefix}user/{generator.user}"]
    else:
        kind = "serverlesscache" if generator._serverless else "replicationgroup"
        resources = [f"{prefix}{kind}:{generator.name}", f"{prefix}user:{generator.user}"]
    statement = {"Effect": "Allow", "Action": f"{generator.service}:Connect", "Resource": resources}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


# --- command line ---


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    argv: the arguments after the program's name; those of the process when None.
    0: done. 1: there were no credentials, or a check found a problem. 2: usage or configuration.
    130: interrupted.
    """
    try:
        options = _parsed_arguments(argv)
        status: int = options.run(options)
    except ConfigurationError as error:
        return _failed(error, 2)
    except (Error, OSError) as error:
        return _failed(error, 1)
    except KeyboardInterrupt:
        return 130
    return status


def _failed(error: Exception, status: int) -> int:
    if sys.stderr is not None:  # print would take standard output instead
        print(f"iamcacheauth: {error}", file=sys.stderr)
    return status


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
    token = commands.add_parser("token", help="print a new token", allow_abbrev=False)
    token.set_defaults(run=_run_token)
    _add_services(token)
    explain = commands.add_parser(
        "explain", help="say what is in a token and what is wrong with it", allow_abbrev=False
    )
    explain.set_defaults(run=_run_explain)
    check = commands.add_parser("check", help="log in to a cache, and say why if that fails", allow_abbrev=False)
    check.set_defaults(run=lambda options: _Check(options).run())
    for service in _add_services(check):
        service.add_argument("--endpoint", metavar="HOST[:PORT]", required=True, help="the port is 6379 unless given")
        service.add_argument("--ca-file", metavar="FILE", help="certificates to trust instead of the system's, PEM")
        service.add_argument("--timeout", metavar="SECONDS", type=float, default=5.0, help="limit of each step (5)")
    try:
        return parser.parse_args(argv)
    except SystemExit:  # after --help or --version, which leaves nothing to do
        return argparse.Namespace(run=lambda _: 0)


def _add_services(command: Any) -> tuple[Any, Any]:
    services = command.add_subparsers(dest="service", metavar="SERVICE", required=True)
    elasticache = services.add_parser("elasticache", help="for ElastiCache", allow_abbrev=False)
    elasticache.add_argument("user", metavar="USER", help="user id")
    elasticache.add_argument("name", metavar="CACHE", help="replication group id or serverless cache's name")
    elasticache.add_argument("--serverless", action="store_true", help="for ElastiCache Serverless")
    memorydb = services.add_parser("memorydb", help="for MemoryDB", allow_abbrev=False)
    memorydb.add_argument("user", metavar="USER", help="user name")
    memorydb.add_argument("name", metavar="CLUSTER", help="cluster's name")
    for service in (elasticache, memorydb):
        service.add_argument("--region", metavar="REGION", help="such as us-east-1")
    return elasticache, memorydb


def _generator(options: Any) -> TokenGenerator:
    if options.service == "memorydb":
        return MemoryDBAuth(options.user, options.name, region=options.region)
    return ElastiCacheAuth(options.user, options.name, region=options.region, serverless=options.serverless)


def _run_token(options: Any) -> int:
    _output(_generator(options).token())
    return 0


if __name__ == "__main__":
    sys.exit(main())
