"""botocore's resolver and ours, in the same environment."""

from __future__ import annotations

import functools
import os

import botocore.loaders
import botocore.session
from support.subject import iamcacheauth

AWS_FILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
models = functools.lru_cache(maxsize=None)(botocore.loaders.create_loader)  # reading STS's model anew takes a while


def bare_environment(monkeypatch, folder):
    """No settings, and botocore's files, which we have no step for, empty; the region is for its STS client."""
    for variable in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    for variable in AWS_FILES:
        monkeypatch.setenv(variable, str(folder / variable))
        (folder / variable).touch()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def theirs():
    """(access key, secret key, token, expiration) as botocore has them; None if it finds nothing; or its error."""
    session = botocore.session.Session()
    session.register_component("data_loader", models())
    try:
        credentials = session.get_credentials()
        if credentials is None:
            return None
        frozen = credentials.get_frozen_credentials()
    except Exception as error:
        return error
    expiration = getattr(credentials, "_expiry_time", None)
    return (frozen.access_key, frozen.secret_key, frozen.token, expiration and expiration.timestamp())


def ours():
    """The same of EnvironmentCredentials, which raises where botocore finds nothing."""
    try:
        credentials = iamcacheauth.EnvironmentCredentials(timeout=20)()
    except iamcacheauth.CredentialsError as error:
        return error
    return (credentials.access_key, credentials.secret_key, credentials.token, credentials.expiration)
