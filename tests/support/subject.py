"""The module under test. To run this suite on a vendored copy, point this one line (or the variable) at its folder."""

import importlib
import os
import sys
from pathlib import Path

sys.path.insert(0, os.environ.get("IAMCACHEAUTH_FOLDER") or str(Path(__file__).resolve().parents[2]))

iamcacheauth = importlib.import_module("iamcacheauth")
