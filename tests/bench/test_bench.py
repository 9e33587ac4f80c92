"""The bench measures everything it promises. What it finds depends on the machine and is nothing to test."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import run as bench

pytestmark = pytest.mark.skipif(
    not hasattr(os, "posix_spawn"), reason="processes are measured by posix_spawn and wait4"
)

ROWS = [
    "cold start, bytecode cached, processor time",
    "cold start, bytecode cached, wall time",
    "cold start, no bytecode, processor time",
    "cold start, no bytecode, wall time",
    "memory",
    "size on disk",
    "token, static keys",
    "token, environment keys",
    "first token of new keys",
    "64 threads, per token",
    "64 threads, longest call",
    "64 threads, most work in a call",
    "1,000 tasks, per token",
    "1,000 tasks, longest call",
    "1,000 tasks, most work in a call",
]
NO_PEERS = {"iamcacheauth": "0.1.0", "botocore": "", "developer-toolkit-elasticache": ""}


@pytest.mark.skipif(os.name != "posix", reason="needs posix_spawn and wait4")
def test_a_quick_run_measures_every_row():
    command = [sys.executable, str(Path(bench.__file__)), "--quick", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    result = json.loads(done.stdout)
    assert [row["what"] for row in result["rows"]] == ROWS
    for row in result["rows"]:
        assert set(row["ratios"]) == set(row["values"])
        assert math.isfinite(row["values"]["iamcacheauth"])
        assert row["what"] in bench.rendered(result)


def test_the_table_says_ratios_first_and_which_peer_is_missing():
    row = bench.compared("memory", "MiB", {"floor": 2.0, "iamcacheauth": 3.0}, "floor")
    place = dict.fromkeys(("machine", "system", "python", "date"), "here")
    text = bench.rendered({**place, "versions": NO_PEERS, "rows": [row._asdict()]})
    assert "developer-toolkit-elasticache is not installed: no comparison" in text
    assert "| memory | 1.50         | 1.00  | floor |" in text
    assert text.index("| memory | 1.50 ") < text.index("| memory | 3.00 MiB ")
