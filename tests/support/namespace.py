"""A network namespace of a test's own, with the fixed link-local addresses of AWS on its loopback.

Outside of one, on a machine of AWS's, something real may answer there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = """
ip link set lo up || exit
for address in 169.254.170.2/32 169.254.170.23/32 169.254.169.254/32; do ip address add $address dev lo || exit; done
for address in fd00:ec2::23/128 fd00:ec2::254/128; do ip address add $address dev lo nodad; done
exec "$@"
"""


def run_pytest_in_namespace(file: Path, marked: str = "") -> None:
    """Run the tests of a file that is not collected by itself; skip where there can be no namespace.

    marked: which of them, as pytest's option -m takes it.
    """
    command = [*_entry(), sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marked, str(file)]
    environ = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}  # which may name files
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    if done.returncode or "skipped" in done.stdout:
        pytest.fail(done.stdout + done.stderr, pytrace=False)


def _entry() -> list[str]:
    for program in ("unshare", "ip"):
        if not shutil.which(program):
            pytest.skip(f"no network namespace: there is no {program} here")
    refusal = ""
    for rights in ([], ["--map-root-user"]):
        entry = ["unshare", "--net", *rights, "sh", "-c", SETUP, "sh"]
        probe = subprocess.run([*entry, "true"], capture_output=True, text=True)
        if probe.returncode == 0:
            return entry
        refusal = refusal or probe.stderr.strip()
    pytest.skip(f"no network namespace: {refusal}")
