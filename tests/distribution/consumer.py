"""What users write: it has to pass ``mypy --strict`` and pyright against the installed wheel."""

from datetime import datetime, timezone
from typing import NamedTuple, Optional

import botocore.credentials
import redis
import redis.asyncio

from iamcacheauth import (
    Credentials,
    ElastiCacheAuth,
    EnvironmentCredentials,
    MemoryDBAuth,
    RefreshingCredentials,
    StaticCredentials,
    TokenGenerator,
    presign,
)


class Keys(NamedTuple):
    access_key: str
    secret_key: str
    token: Optional[str]


def fetch() -> StaticCredentials:
    return StaticCredentials("access", "secret", "token", datetime.now(timezone.utc))


def name_of(credentials: Credentials) -> str:
    return credentials.access_key


keys = Keys("access", "secret", None)
generators: list[TokenGenerator] = [
    ElastiCacheAuth("user", "cache", region="us-east-1", serverless=True, credentials=keys),
    ElastiCacheAuth("user", "cache", credentials=lambda: keys),
    ElastiCacheAuth("user", "cache", credentials=fetch),
    ElastiCacheAuth("user", "cache", credentials=RefreshingCredentials(fetch, timeout=1)),
    ElastiCacheAuth("user", "cache", credentials=EnvironmentCredentials({"AWS_ACCESS_KEY_ID": "x"})),
    MemoryDBAuth("user", "cluster", credentials=botocore.credentials.Credentials("access", "secret")),
    MemoryDBAuth("user", "cluster", credentials=botocore.credentials.ReadOnlyCredentials("access", "secret", "token")),
]
user: str
token: str
user, token = generators[0].get_credentials()
expiration: Optional[float] = fetch().expiration
url: str = presign(keys, service="sts", region="us-east-1", host="h", params=[("a", "b")], timestamp="", expires=1)
redis.Redis(credential_provider=ElastiCacheAuth("user", "cache"))
redis.asyncio.Redis(credential_provider=MemoryDBAuth("user", "cluster"))


async def main() -> tuple[str, str]:
    await generators[0].token_async()
    return await generators[0].get_credentials_async()


# What is wrong is seen: each of these lines has to be an error, or the ignoring comment is one.
ElastiCacheAuth("user")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ElastiCacheAuth("user", "cache", credentials=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
MemoryDBAuth("user", "cluster", serverless=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
EnvironmentCredentials(timeout="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
name_of(object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
