"""A strict reader of the vectors: what it does not know, or does not find, it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "vectors"

# Shapes: a type or several, a dictionary of keys that must all be there, or a list of any number of one shape.
_CASE = {"id": str, "comment": str}
_REQUEST = {
    "service": str,
    "region": str,
    "access_key": str,
    "secret_key": str,
    "session_token": (str, type(None)),
    "timestamp": str,
}
_STEPS = {"canonical_request": [str], "string_to_sign": [str], "signing_key": str}
_TOKEN = {**_CASE, "input": {**_REQUEST, "user": str, "name": str, "serverless": bool}, **_STEPS, "token": str}
_URL = {**_CASE, "input": {**_REQUEST, "host": str, "params": [[str]], "expires": int}, **_STEPS, "url": str}
_QUERY = {**_CASE, "input": {"params": [[str]]}, "canonical_query": str}
_KEY = {
    **_CASE,
    "source": str,
    "input": {"secret_key": str, "date": str, "region": str, "service": str},
    "steps": [[str]],
    "signing_key": str,
}
_FILES = {
    "tokens_regions.json": _TOKEN,
    "tokens_credentials.json": _TOKEN,
    "tokens_users.json": _TOKEN,
    "tokens_names.json": _TOKEN,
    "tokens_dates.json": _TOKEN,
    "presign.json": _URL,
    "canonical_query.json": _QUERY,
    "signing_key.json": _KEY,
}
_PROVENANCE = {"generator": str, "botocore": str, "python": str, "recorded": str}


class MalformedVectors(ValueError):
    """A file is not as record.py writes it; the message says where."""


def load(path: Path) -> list[dict[str, Any]]:
    """The cases of one file, each in the shape that is known for a file of that name."""
    if path.name not in _FILES:
        raise MalformedVectors(f"{path.name}: not a known file of vectors")
    try:
        document = json.loads(path.read_text("utf-8"), object_pairs_hook=_without_repeated_keys)
    except ValueError as error:
        raise MalformedVectors(f"{path.name}: {error}") from error
    _check(path.name, document, {"comment": str, "provenance": _PROVENANCE, "cases": [_FILES[path.name]]})
    ids = [case["id"] for case in document["cases"]]
    if not ids or len(set(ids)) != len(ids):
        raise MalformedVectors(f"{path.name}: no cases, or one id twice")
    return document["cases"]


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedVectors(f"a key twice among {[key for key, _ in pairs]}")
    return members


def _check(where: str, value: Any, shape: Any) -> None:
    if isinstance(shape, dict) and isinstance(value, dict):
        if value.keys() != shape.keys():
            raise MalformedVectors(f"{where}: unknown or missing keys: {sorted(value.keys() ^ shape.keys())}")
        for key, item in value.items():
            _check(f"{where}: {key}", item, shape[key])
    elif isinstance(shape, list) and isinstance(value, list):
        for number, item in enumerate(value, 1):
            _check(f"{where}: {number}", item, shape[0])
    elif type(value) not in (shape if isinstance(shape, tuple) else (shape,)):
        raise MalformedVectors(f"{where}: of the wrong type")
