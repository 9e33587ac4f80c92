"""Asking the chain for credentials, and looking at what it says when there are none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Callable

import pytest

from .loopback import Container, Imds, Server, Sts, iso8601, told
from .subject import iamcacheauth

FULL_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
SOURCES: dict[type[Server], str] = {
    Sts: "web identity (AWS_WEB_IDENTITY_TOKEN_FILE): ",
    Container: f"container credentials ({FULL_URI}): ",
    Imds: "EC2 instance metadata (AWS_EC2_METADATA_SERVICE_ENDPOINT): ",
}
OPERATIONS = [(Sts, "credentials"), (Container, "credentials")]
OPERATIONS += [(Imds, operation) for operation in ("token", "role", "credentials")]
LONG = 20.0  # seconds; a timeout that is not used up
SHORT = 0.8  # seconds; one that is, of which a tenth is left between the end of a source and that of its callers
# What an error says of a source that is too slow: its own reason or, on a busy machine, its caller's.
OUT_OF_TIME = re.compile("no complete answer in time|no credentials within")
PIECE = 8  # characters of a secret that tell enough of it


def retrieve(environ: Mapping[str, str], timeout: float = LONG) -> iamcacheauth.StaticCredentials:
    """What a chain that nobody has asked before finds."""
    return iamcacheauth.EnvironmentCredentials(environ, timeout=timeout)()


def fields(credentials: iamcacheauth.StaticCredentials) -> dict[str, str | None]:
    """Credentials as servers issue them."""
    return {
        "AccessKeyId": credentials.access_key,
        "SecretAccessKey": credentials.secret_key,
        "Token": credentials.token,
        "Expiration": iso8601(credentials.expiration),
    }


def refused(ask: Callable[[], Any], secrets: Iterable[str] = ()) -> str:
    """What the error says; it is one printable line, and neither it nor what is behind it tells a secret."""
    with pytest.raises(iamcacheauth.CredentialsError) as caught:
        ask()
    everything = told(caught.value)
    assert [secret for secret in secrets if secret in everything] == []
    assert str(caught.value).isprintable()
    return str(caught.value)


def failure(environ: Mapping[str, str], timeout: float = LONG, secrets: Iterable[str] = ()) -> str:
    """What a chain that nobody has asked before says when it finds nothing."""
    return refused(iamcacheauth.EnvironmentCredentials(environ, timeout=timeout), secrets)


def pieces_of(secrets: Iterable[str], text: str) -> list[str]:
    """The pieces of secrets that a text repeats."""
    pieces = {secret[start : start + PIECE] for secret in secrets for start in range(len(secret) - PIECE + 1)}
    return sorted(piece for piece in pieces if piece in text)
