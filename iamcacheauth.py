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
- no connection is opened unless the environment names a place to fetch
  credentials from, or you run ``check``;
- no secret key, session token or auth token in any error, repr or log line.

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
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime
    from http.client import HTTPMessage
    from io import BufferedReader
    from socket import socket
    from ssl import SSLContext
    from typing import Any, NoReturn, Protocol, TypeVar, Union

    _Answer = TypeVar("_Answer")

    class Freezable(Protocol):
        """Credentials that change in place but can be had as one consistent set: botocore's."""

        def get_frozen_credentials(self) -> Credentials: ...

    CredentialsArgument = Union["Credentials", Freezable, "Callable[[], Credentials]", None]
    # Clients declare their provider parameter as a class of their own; a base of Any fits all of them.
    AnyProvider = Any
else:
    Protocol = AnyProvider = object

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
    "main",
    "presign",
    "signing_key",
    "string_to_sign",
    "uri_encode",
]

TOKEN_LIFETIME = 900  # seconds; both services refuse a longer X-Amz-Expires
RENEW_EARLY = 900  # seconds before their expiry; a token lives no longer than what it was signed with
RENEWAL_PAUSE = 10  # seconds between attempts to renew credentials that are still valid

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
        for argument, value in (("access_key", access_key), ("secret_key", secret_key), ("token", token or None)):
            flaw = "" if value is None and argument == "token" else _flaw(value)
            if flaw:
                raise ConfigurationError(f"{argument}: {flaw}")
        self.access_key = access_key
        self.secret_key = secret_key
        self.token = token or None
        self.expiration = None if expiration is None else _epoch(expiration)

    def __repr__(self) -> str:
        kind = "permanent" if self.token is None else "temporary"
        expiry = "" if self.expiration is None else f", until {_utc(self.expiration)}"
        return f"<StaticCredentials {_shortened(self.access_key)}, {kind}{expiry}>"


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
    they are kept for good). It is called in the thread of whoever needs the credentials,
    or in a worker thread of the event loop, never twice at a time.
    timeout: the longest wait for another caller's fetch, in seconds.

    From 15 minutes before they expire, one caller renews them while the others go on with
    what there is; a renewal that fails is tried again after 10 seconds. Without valid
    credentials every caller waits for the one fetch under way and shares its outcome.

    Safe to share between threads, event loops and forked processes. A copy or pickle
    takes ``fetch`` along but nothing that was fetched. Calling the object returns a
    StaticCredentials or raises CredentialsError.
    """

    def __init__(self, fetch: Callable[[], Credentials], *, timeout: float = 5.0) -> None:
        if not callable(fetch):
            raise ConfigurationError(f"fetch: a callable without arguments is wanted, not {_kind(fetch)}")
        self._provider = _Callable(fetch)
        self._timeout = _checked_timeout(timeout)
        # The credentials and the time from which to renew them: one object, so that no thread sees half of it.
        self._kept: tuple[StaticCredentials, float] | None = None
        # At most one per process, under its id: a child forked during a renewal finds none of its own and
        # starts afresh. dict.setdefault is atomic, which spares a lock that a fork could leave locked.
        self._renewals: dict[int, Future[StaticCredentials]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None, "_renewals": {}}

    def _at_hand(self, now: float) -> StaticCredentials | None:
        if self._kept is None:
            return None
        credentials, renew_at = self._kept
        if _expired(credentials, now) or (now >= renew_at and os.getpid() not in self._renewals):
            return None
        return credentials

    def _fetch(self) -> StaticCredentials:
        import concurrent.futures

        renewal, others = self._join_renewal()
        if not others:
            self._renew(renewal)
            return renewal.result()
        try:
            return self._at_hand(time.time()) or renewal.result(self._timeout)
        except concurrent.futures.TimeoutError:
            raise self._waited_too_long() from None

    async def _fetch_async(self) -> StaticCredentials:
        import asyncio

        renewal, others = self._join_renewal()
        if not others:
            self._renew_in_worker(renewal)
            return await asyncio.wrap_future(renewal)
        valid = self._at_hand(time.time())
        if valid is not None:
            return valid
        try:
            return await asyncio.wait_for(asyncio.wrap_future(renewal), self._timeout)
        except asyncio.TimeoutError:
            raise self._waited_too_long() from None

    def _join_renewal(self) -> tuple[Future[StaticCredentials], bool]:
        """The renewal under way and whether it is another caller's; if there was none, the caller's own."""
        from concurrent.futures import Future

        own: Future[StaticCredentials] = Future()
        own.set_running_or_notify_cancel()  # from here on, a waiter that is cancelled cannot cancel it for all
        renewal = self._renewals.setdefault(os.getpid(), own)
        return renewal, renewal is not own

    def _renew_in_worker(self, renewal: Future[StaticCredentials]) -> None:
        import asyncio

        try:
            asyncio.get_running_loop().run_in_executor(None, self._renew, renewal)
        except RuntimeError:  # the loop is shutting down its worker threads
            self._renewals.pop(os.getpid(), None)
            renewal.set_exception(CredentialsError("the event loop has no worker thread left to fetch credentials in"))

    def _renew(self, renewal: Future[StaticCredentials]) -> None:
        """Fetch, then give the outcome to everyone who waits for ``renewal``."""
        try:
            credentials = self._renewed()
        except BaseException as error:
            self._renewals.pop(os.getpid(), None)
            if isinstance(error, CredentialsError):
                renewal.set_exception(error)
                return
            renewal.set_exception(CredentialsError("the caller that was fetching credentials was interrupted"))
            raise
        self._renewals.pop(os.getpid(), None)
        renewal.set_result(credentials)

    def _renewed(self) -> StaticCredentials:
        kept = self._kept
        if kept is not None and time.time() < kept[1] and not _expired(kept[0], time.time()):
            return kept[0]  # another caller's renewal ended between our looking and our joining
        try:
            credentials = self._provider._fetch()
        except CredentialsError:
            if kept is None or _expired(kept[0], time.time()):
                raise
            credentials = kept[0]
        expiration = float("inf") if credentials.expiration is None else credentials.expiration
        self._kept = (credentials, max(expiration - RENEW_EARLY, time.time() + RENEWAL_PAUSE))
        return credentials

    def _waited_too_long(self) -> CredentialsError:
        return CredentialsError(f"another caller's fetch of credentials took longer than {self._timeout:g} s")


class EnvironmentCredentials(_Provider):
    """The credentials that the environment provides, by the AWS SDKs' order of sources, files left out.

    Static keys, web identity (EKS IAM roles for service accounts), the container endpoint
    (ECS, Fargate, EKS Pod Identity, Lambda SnapStart), EC2 instance metadata version 2: the
    first source that is configured is used, and an error if it fails; there is no going on
    to the next. Static keys are read at every call; what was fetched is kept and renewed as
    RefreshingCredentials does.

    environ: a mapping of variables; os.environ when None.
    timeout: the limit for one retrieval, all its attempts included, in seconds. How long
    looking up a host name takes is up to the system's resolver and comes on top.

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

    def __init__(self, credentials: Credentials | Freezable) -> None:
        self._credentials = credentials

    def __deepcopy__(self, memo: object) -> _Given:
        return self  # the user's object may hold locks and sockets, and is theirs to copy

    def _at_hand(self, now: float) -> StaticCredentials:
        credentials = _snapshot(self._credentials)
        if _expired(credentials, now):
            raise CredentialsError(f"credentials: {_expiry(credentials)}")
        return credentials


class _Callable(_Provider):
    """A callable of the user's: it may block, so its credentials are never at hand."""

    def __init__(self, function: Callable[[], Credentials]) -> None:
        self._function = function

    def __deepcopy__(self, memo: object) -> _Callable:
        return self

    def _fetch(self) -> StaticCredentials:
        try:
            credentials = _snapshot(self._function())
        except CredentialsError:
            raise
        except ConfigurationError as error:
            raise CredentialsError(f"credentials: {error}") from error
        except Exception as error:  # its text stays in the cause: nobody knows whether it holds a secret
            raise CredentialsError(f"credentials: the callable that provides them raised {_kind(error)}") from error
        if _expired(credentials, time.time()):
            raise CredentialsError(f"credentials: the callable provided some, but {_expiry(credentials)}")
        return credentials


def _provider(credentials: CredentialsArgument) -> _Provider:
    """What a generator's ``credentials`` argument stands for."""
    if credentials is None:
        return EnvironmentCredentials()
    if isinstance(credentials, _Provider):
        return credentials
    freeze = getattr(credentials, "get_frozen_credentials", None)
    if callable(freeze):
        return _Callable(freeze)
    if callable(credentials):
        return _Callable(credentials)
    if all(hasattr(credentials, attribute) for attribute in ("access_key", "secret_key", "token")):
        return _Given(credentials)
    raise ConfigurationError(
        "credentials: None, an object with access_key, secret_key and token, or a callable without arguments"
        f" that returns one is wanted, not {_kind(credentials)}"
    )


def _snapshot(credentials: Credentials | Freezable) -> StaticCredentials:
    """The attributes of any credentials object, read once and checked."""
    if isinstance(credentials, StaticCredentials):
        return credentials
    freeze = getattr(credentials, "get_frozen_credentials", None)
    found: Any = freeze() if callable(freeze) else credentials
    try:
        expiration = getattr(found, "expiration", None)
        return StaticCredentials(found.access_key, found.secret_key, found.token, expiration)
    except AttributeError:
        raise CredentialsError(f"credentials: {_kind(found)} lacks access_key, secret_key or token") from None
    except ConfigurationError as error:
        raise CredentialsError(f"credentials: {error}") from None


def _expired(credentials: StaticCredentials, now: float) -> bool:
    return credentials.expiration is not None and credentials.expiration <= now


def _expiry(credentials: StaticCredentials) -> str:
    return f"they expired at {_utc(credentials.expiration or 0)}"


# --- token generators ---


class TokenGenerator(AnyProvider):  # type: ignore[misc]
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
        credentials: CredentialsArgument,
        resource_type: str | None = None,
    ) -> None:
        self._user = user
        self._name = name
        self._region = _resolved_region(region)
        self._provider = _provider(credentials)
        self._params = [("Action", "connect"), ("User", user)]
        if resource_type:
            self._params.append(("ResourceType", resource_type))
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
        """Do what token() does; a fetch of credentials goes to a worker thread of asyncio's loop."""
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
                credentials, self._service, self._region, self._name, self._params, timestamp, TOKEN_LIFETIME
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
        credentials: CredentialsArgument = None,
    ) -> None:
        if not isinstance(serverless, bool):
            raise ConfigurationError(f"serverless: True or False is wanted, not {_kind(serverless)}")
        super().__init__(
            _checked_user(user).lower(),
            _checked_name("cache", cache),
            region,
            credentials,
            "ServerlessCache" if serverless else None,
        )


class MemoryDBAuth(TokenGenerator):
    """Tokens for a MemoryDB cluster.

    user: the user name, signed as given. cluster: the cluster's name, not its endpoint,
    signed in lower case. region, credentials: see ElastiCacheAuth.

    Raises ConfigurationError for an argument that cannot be right.
    https://docs.aws.amazon.com/memorydb/latest/devguide/auth-iam.html
    """

    _service = "memorydb"

    def __init__(
        self, user: str, cluster: str, *, region: str | None = None, credentials: CredentialsArgument = None
    ) -> None:
        super().__init__(_checked_user(user), _checked_name("cluster", cluster), region, credentials)


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
_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


def uri_encode(text: str) -> str:
    """Percent-encode the UTF-8 form of ``text``, all but the unreserved characters of RFC 3986.

    Raises ConfigurationError for anything that is not text with a UTF-8 form.
    """
    if not isinstance(text, str):
        raise ConfigurationError(f"uri_encode: text is wanted, not {_kind(text)}")
    # Replacing each kind of character at once takes half the time of joining the characters one by
    # one: 12 against 25 microseconds for a session token of 720 characters.
    reserved = set(text.strip(_UNRESERVED)).difference(_UNRESERVED, "%")
    encoded = text.replace("%", "%25")
    for character in reserved:
        encoded = encoded.replace(character, _percent_encoded(character))
    return encoded


def _percent_encoded(character: str) -> str:
    try:
        return "".join(f"%{byte:02X}" for byte in character.encode())
    except UnicodeEncodeError:
        raise ConfigurationError("uri_encode: the text holds a lone surrogate, which has no UTF-8 form") from None


def canonical_query(params: Iterable[tuple[str, str]]) -> str:
    """Encode ``params``, pairs of name and value, and sort them by encoded name, then by encoded value."""
    return _joined(sorted(_encoded(params)))


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
    header = host.lower()
    if header.endswith(":443"):
        header = header[: -len(":443")]
    return f"GET\n/\n{canonical_query(params)}\nhost:{header}\n\nhost\n{_EMPTY_PAYLOAD_HASH}"


def string_to_sign(timestamp: str, scope: str, canonical_request: str) -> str:
    """Algorithm, timestamp ("20260102T030405Z"), credential scope and the canonical request's hash, a line each.

    scope: "<date>/<region>/<service>/aws4_request", the date in the form "20260102".
    """
    return f"{_ALGORITHM}\n{timestamp}\n{scope}\n{hashlib.sha256(canonical_request.encode()).hexdigest()}"


def signing_key(secret_key: str, date: str, region: str, service: str) -> bytes:
    """Derive the 32 bytes that sign for one date ("20260102"), region and service."""
    key = f"AWS4{secret_key}".encode()
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
        raise ConfigurationError(f"expires: seconds from 1 to 604800 are wanted")
    params = list(params)
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
        # This can only be the parameter itself: what is encoded holds no "&" and no "=".
        date_param = f"&X-Amz-Date={timestamp}"
        self._request_start, self._request_end = canonical_request(host, signed).split(date_param)
        self._url_start, self._url_end = f"{host}/?{_joined(_encoded(signed))}".split(date_param)

    def serves(self, credentials: StaticCredentials, timestamp: str) -> bool:
        """Whether these are the credentials and the day that this was made for."""
        return self._serves == (credentials.access_key, credentials.secret_key, credentials.token, timestamp[:8])

    def url(self, timestamp: str) -> str:
        """The presigned URL, without its scheme, at a time of that day."""
        date_param = f"&X-Amz-Date={timestamp}"
        request = f"{self._request_start}{date_param}{self._request_end}"
        signature = hmac.digest(self._key, string_to_sign(timestamp, self._scope, request).encode(), "sha256").hex()
        return f"{self._url_start}{date_param}{self._url_end}&X-Amz-Signature={signature}"


def _encoded(params: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(uri_encode(name), uri_encode(value)) for name, value in params]


def _joined(encoded: list[tuple[str, str]]) -> str:
    return "&".join([f"{name}={value}" for name, value in encoded])


def _is_timestamp(text: object) -> bool:
    if not isinstance(text, str) or not text.isascii() or len(text) != 16:
        return False
    return text[8] == "T" and text[15] == "Z" and (text[:8] + text[9:15]).isdigit()


# --- arguments ---
#
# No error repeats a value: people paste secrets and whole tokens into the wrong argument.

_CONTROL_CHARACTERS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0))))


def _checked_user(user: str) -> str:
    if not isinstance(user, str) or not user:
        raise ConfigurationError(f"user: the id of a user with IAM authentication is wanted, not {_kind(user)}")
    if any(character.isspace() or character in _CONTROL_CHARACTERS for character in user):
        raise ConfigurationError("user: white space and control characters are not part of any user id; remove them")
    if any("\ud800" <= character <= "\udfff" for character in user):
        raise ConfigurationError("user: text with a UTF-8 form is wanted; this holds a lone surrogate")
    return user


def _checked_name(argument: str, name: str) -> str:
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"{argument}: a name like 'my-{argument}' is wanted, not {_kind(name)}")
    if not set(name).isdisjoint(".:/"):
        raise ConfigurationError(
            f"{argument}: the name of the {argument} is wanted, not its endpoint or ARN{_probable_name(name)}"
        )
    if not (name.isascii() and name[0].isalpha() and name.replace("-", "").isalnum()):
        raise ConfigurationError(
            f"{argument}: letters, digits and hyphens, starting with a letter, are wanted, like 'my-{argument}'"
        )
    return name.lower()


def _probable_name(location: str) -> str:
    host = location.rpartition("://")[2].rpartition("@")[2]
    if location.startswith("arn:"):
        name = location.replace("/", ":").rpartition(":")[2]
    elif "." in host or ":" in host:
        name = _name_in_endpoint(host.partition("/")[0].partition(":")[0])
    else:
        return ""
    return f"; it is probably {name!r}" if name.replace("-", "").isalnum() else ""


def _name_in_endpoint(host: str) -> str:
    """The part of an ElastiCache or MemoryDB host name that is the cache's or cluster's own name.

    master.NAME.xxxxxx.use1.cache.amazonaws.com, and likewise replica. and clustercfg.;
    NAME-0001-001.NAME.xxxxxx.…; NAME.xxxxxx.ng.0001.…; NAME-xxxxxx.serverless.use1.….
    https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Endpoints.html
    """
    first, second, *others = [*host.lower().split("."), ""]
    if "serverless" in (second, *others):
        return first.rpartition("-")[0]
    if first in ("master", "replica", "clustercfg") or first.startswith(f"{second}-"):
        return second
    return first[: -len("-ro")] if first.endswith("-ro") else first


def _resolved_region(region: str | None) -> str:
    if region is not None:
        return _checked_region("region", region)
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if os.environ.get(variable):
            return _checked_region(variable, os.environ[variable])
    raise ConfigurationError("region: one like 'us-east-1' is wanted here, in AWS_REGION or in AWS_DEFAULT_REGION")


def _checked_region(argument: str, region: str) -> str:
    words = region.split("-") if isinstance(region, str) else []
    if len(words) >= 3 and region.isascii() and all(word.isalnum() for word in words) and region == region.lower():
        if words[-1].isdigit():
            return region
        if words[-1][:-1].isdigit():
            raise ConfigurationError(f"{argument}: a region is wanted; this is an availability zone of {region[:-1]}")
    raise ConfigurationError(f"{argument}: a region is wanted, in lower case, like 'us-east-1'")


def _checked_timeout(timeout: float) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
        raise ConfigurationError("timeout: a positive number of seconds is wanted")
    return timeout


def _flaw(value: object) -> str:
    """What keeps a value from being a key or token, in words; empty if nothing does."""
    if not isinstance(value, str) or not value:
        return f"text is wanted, not {_kind(value)}"
    if not value.isascii() or not value.isprintable() or " " in value:
        return "white space and characters outside ASCII are not part of any key; was a line break pasted with it?"
    return ""


def _epoch(expiration: object) -> float:
    """Epoch seconds of an expiration as StaticCredentials takes it."""
    if isinstance(expiration, str):
        expiration = _parsed_iso8601(expiration)
    elif getattr(expiration, "tzinfo", None) is not None:
        expiration = expiration.timestamp()  # type: ignore[attr-defined]
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
    try:
        parsed = datetime.fromisoformat(moment + ("+00:00" if zone == "Z" else zone))
    except ValueError:
        return None
    return None if parsed.tzinfo is None else parsed.timestamp()


def _utc(epoch: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


def _shortened(access_key: str) -> str:
    """An access key id that can be recognised but not used: AKIA…MPLE."""
    return f"{access_key[:4]}…{access_key[-4:]}" if len(access_key) >= 16 else "…"


def _kind(value: object) -> str:
    return "empty text" if value == "" else f"an object of type {type(value).__name__}"


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
_PLAIN_HTTP_HOSTS = ("localhost", _CONTAINER_HOST, "169.254.170.23", "fd00:ec2::23")
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

    if not environ.get("AWS_ROLE_ARN"):
        raise CredentialsError("AWS_ROLE_ARN is not set")
    token = _read_token_file(_TOKEN_FILE, environ[_TOKEN_FILE]).strip()
    if _flaw(token):
        raise CredentialsError("the file holds no token, or more than one line")
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": environ["AWS_ROLE_ARN"],
        "RoleSessionName": environ.get("AWS_ROLE_SESSION_NAME") or f"iamcacheauth-{int(time.time())}",
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
        code, message = (_one_line(answer.get(name, ""), hide=token) for name in ("Code", "Message"))
        raise _refusal(status, f"{code}: {message}" if code else "", temporary=code == "IDPCommunicationError")

    return _retrying(ask, deadline, _ATTEMPTS)


def _sts_endpoint(environ: Mapping[str, str]) -> str:
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-sts-regionalized-endpoints.html"""
    for variable in ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"):
        if environ.get(variable):
            return _checked_url(variable, environ[variable], plain_http_hosts=("localhost",))
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if environ.get(variable):
            region = _checked_region(variable, environ[variable])
            return f"https://sts.{region}.{_dns_suffix(region)}"
    return "https://sts.amazonaws.com"


def _dns_suffix(region: str) -> str:
    for prefix, suffix in (
        ("cn-", "amazonaws.com.cn"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eusc-", "amazonaws.eu"),
    ):
        if region.startswith(prefix):
            return suffix
    return "amazonaws.com"


def _fetch_container(environ: Mapping[str, str], deadline: float) -> StaticCredentials:
    """Ask the endpoint that ECS, Fargate, EKS Pod Identity or Lambda SnapStart runs beside the container.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
    """
    if environ.get(_RELATIVE_URI):
        if not environ[_RELATIVE_URI].startswith("/"):
            raise CredentialsError("a path that starts with a slash is wanted")
        url = f"http://{_CONTAINER_HOST}{environ[_RELATIVE_URI]}"
    else:
        url = _checked_url(_FULL_URI, environ[_FULL_URI], plain_http_hosts=_PLAIN_HTTP_HOSTS)
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
                raise _refusal(status, "the instance has no role" if status == 404 else "")
            return body

        return _retrying(attempt, deadline, attempts, seconds)

    try:
        token = ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "21600"})
    except _TemporaryError as error:
        absent = "" if environ.get(_METADATA_ENDPOINT) else f"; {_NOTHING_SET}"
        hint = "from inside a container, the instance's metadata hop limit must be 2 or more"
        raise CredentialsError(f"{endpoint}: {error} ({hint}){absent}") from error
    headers = {"X-aws-ec2-metadata-token": _one_word(token, "session token")}
    roles = "/latest/meta-data/iam/security-credentials/"
    role = _one_word(ask("GET", roles, headers), "role name")
    answer = _parsed_json(ask("GET", f"{roles}{uri_encode(role)}", headers))
    if answer.get("Code") != "Success":
        raise CredentialsError("its answer has no Code of Success")
    return _credentials_from(answer, "Token")


def _metadata_endpoint(environ: Mapping[str, str]) -> str:
    if environ.get(_METADATA_ENDPOINT):
        return _checked_url(_METADATA_ENDPOINT, environ[_METADATA_ENDPOINT]).rstrip("/")
    mode = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE") or "ipv4"
    endpoints = {"ipv4": "http://169.254.169.254", "ipv6": "http://[fd00:ec2::254]"}
    if mode.lower() not in endpoints:
        raise CredentialsError("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: ipv4 or ipv6 is wanted")
    return endpoints[mode.lower()]


def _number(environ: Mapping[str, str], variable: str) -> float:
    text = environ.get(variable) or "1"
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise CredentialsError(f"{variable}: a whole number from 1 is wanted")
    return int(text)


def _read_token_file(variable: str, path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(_SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:
        raise CredentialsError(f"{variable}: its file cannot be read: {_reason(error)}") from error
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


def _parsed_xml(body: bytes) -> dict[str, object]:
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


def _one_line(text: object, *, hide: str) -> str:
    """Somebody else's text made fit for an error of ours."""
    words = "".join(character if character.isprintable() else " " for character in str(text).replace(hide, "…"))
    return " ".join(words.split())[:300]


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
        left = deadline - time.monotonic()
        try:
            return ask(deadline - left + min(left, attempt_seconds or left / attempts))
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
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    host = parts.hostname or ""
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    client: http.client.HTTPConnection
    if parts.scheme == "https":
        context = _tls_context("AWS_CA_BUNDLE", ca_file)
        client = http.client.HTTPSConnection(host, parts.port, context=context)
    else:
        context = None
        client = http.client.HTTPConnection(host, parts.port)
    try:
        client.sock = _connect(host, client.port, deadline)
        if context is not None:
            client.sock = context.wrap_socket(client.sock, server_hostname=host)
            client.sock.settimeout(_left(deadline))
        client.request(method, target, body, {**headers, "Connection": "close"})
        response = http.client.HTTPResponse(client.sock, method=method)
        response.fp.close()
        response.fp = _file_until(deadline, client.sock)
        response.begin()
        content = response.read(_SIZE_LIMIT + 1)
        if len(content) > _SIZE_LIMIT:
            raise CredentialsError(f"its answer is larger than {_SIZE_LIMIT} bytes")
        if response.length:
            raise _TemporaryError("the connection was closed in the middle of its answer")
        return response.status, response.headers, content
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, CredentialsError):
            raise
        raise _TemporaryError(_reason(error)) from error
    finally:
        client.close()


def _checked_url(variable: str, url: str, plain_http_hosts: tuple[str, ...] | None = None) -> str:
    """``url``, if it may be asked for keys: https anywhere, http to loopback and the hosts given, None for any."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit("" if _flaw(url) else url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise CredentialsError(f"{variable}: a URL that starts with http:// or https:// is wanted")
    if "@" in parts.netloc:
        raise CredentialsError(f"{variable}: a URL without user name and password is wanted")
    if parts.scheme == "http" and plain_http_hosts is not None:
        if host not in plain_http_hosts and not _is_loopback(host):
            raise CredentialsError(f"{variable}: https is wanted; plain http only goes to this machine or its agents")
    return url


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
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

    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for remaining in range(len(addresses), 0, -1):
        family, kind, protocol, _, address = addresses[-remaining]
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(_left(deadline) / remaining)
            connection.connect(address)
            connection.settimeout(_left(deadline))
            return connection
        except BaseException as error:
            connection.close()
            if remaining == 1 or not isinstance(error, OSError):
                raise
    raise OSError("the host name has no address")


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


def _reason(error: Exception) -> str:
    """A failure of the network or of a file in a few words, without anything that the other side sent."""
    import socket

    if isinstance(error, (socket.timeout, TimeoutError)):
        return "no complete answer in time"
    if isinstance(error, socket.gaierror):
        return "the host name does not resolve"
    verification = getattr(error, "verify_message", None)
    if verification:
        return f"the certificate is not trusted: {verification}"
    strerror = getattr(error, "strerror", None)
    return strerror if isinstance(strerror, str) else f"no HTTP answer ({type(error).__name__})"


# --- command line ---


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    argv: the arguments after the program's name; those of the process when None.
    0: done. 1: there were no credentials, or a check found a problem. 2: usage or configuration.
    """
    try:
        options = _parsed_arguments(argv)
        options.run(options)
    except ConfigurationError as error:
        return _failed(error, 2)
    except (Error, OSError) as error:
        return _failed(error, 1)
    except SystemExit as stop:  # argparse's way out of --help and --version
        return 0 if stop.code is None else int(stop.code)
    except KeyboardInterrupt:
        return 130
    return 0


def _failed(error: Exception, status: int) -> int:
    print(f"iamcacheauth: {error}", file=sys.stderr)
    return status


def _parsed_arguments(argv: Sequence[str] | None) -> Any:
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ConfigurationError(f"{message} (try --help)")

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
    return parser.parse_args(argv)


def _add_services(command: Any) -> None:
    services = command.add_subparsers(metavar="SERVICE", required=True)
    elasticache = services.add_parser("elasticache", help="for ElastiCache", allow_abbrev=False)
    elasticache.set_defaults(service=ElastiCacheAuth)
    elasticache.add_argument("user", metavar="USER", help="user id")
    elasticache.add_argument("name", metavar="CACHE", help="replication group id or serverless cache's name")
    elasticache.add_argument("--serverless", action="store_true", help="for ElastiCache Serverless")
    memorydb = services.add_parser("memorydb", help="for MemoryDB", allow_abbrev=False)
    memorydb.set_defaults(service=MemoryDBAuth)
    memorydb.add_argument("user", metavar="USER", help="user name")
    memorydb.add_argument("name", metavar="CLUSTER", help="cluster's name")
    for service in (elasticache, memorydb):
        service.add_argument("--region", metavar="REGION", help="such as us-east-1")


def _generator(options: Any) -> TokenGenerator:
    serverless = {"serverless": True} if getattr(options, "serverless", False) else {}
    generator: TokenGenerator = options.service(options.user, options.name, region=options.region, **serverless)
    return generator


def _run_token(options: Any) -> None:
    print(_generator(options).token())


if __name__ == "__main__":
    sys.exit(main())
