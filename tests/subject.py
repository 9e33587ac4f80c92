"""The module under test. To run this suite on a vendored copy, point this one line (or the variable) at its folder."""

import importlib
import os
import sys

sys.path.insert(0, os.environ.get("IAMCACHEAUTH_FOLDER") or os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

iamcacheauth = importlib.import_module("iamcacheauth")
