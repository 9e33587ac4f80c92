"""The ways in which an object travels."""

from __future__ import annotations

import copy
import pickle
from typing import Any, Callable

import pytest


def _pickled(protocol: int) -> Callable[[Any], Any]:
    return lambda original: pickle.loads(pickle.dumps(original, protocol))


every_copy = pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, *map(_pickled, range(pickle.HIGHEST_PROTOCOL + 1))],
    ids=["copy", "deepcopy", *(f"pickle {protocol}" for protocol in range(pickle.HIGHEST_PROTOCOL + 1))],
)
