"""The module under test: this checkout's, or the copy whose folder or file IAMCACHEAUTH_FOLDER names."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from pathlib import Path

VARIABLE = "IAMCACHEAUTH_FOLDER"
FILE = "iamcacheauth.py"


def _meant() -> Path:
    named = os.environ.get(VARIABLE)
    if named is None:
        return Path(__file__).resolve().parents[2] / FILE
    try:
        path = Path(named).expanduser().absolute()
    except RuntimeError as error:  # there is no such user's home
        raise SystemExit(f"{VARIABLE}={named}: {error}") from None
    if path.is_dir() and named:
        path /= FILE
    if path.name != FILE or not path.is_file():
        raise SystemExit(f"{VARIABLE}={named}: the folder that has {FILE} in it, or that file itself, is wanted")
    return path


MEANT = _meant()
DESCRIPTION = f"tested: {MEANT}, SHA-256 {hashlib.sha256(MEANT.read_bytes()).hexdigest()}"

sys.path.insert(0, str(MEANT.parent))
iamcacheauth = importlib.import_module("iamcacheauth")
if not (iamcacheauth.__file__ and os.path.samefile(iamcacheauth.__file__, MEANT)):
    raise SystemExit(f"{MEANT} was to be tested, but iamcacheauth came from {iamcacheauth.__file__}")
