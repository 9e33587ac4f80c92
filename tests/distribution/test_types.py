"""The types of the installed wheel, as mypy and pyright see them in a consumer's code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CONSUMER = Path(__file__).with_name("consumer.py")
CHECKERS = {
    "mypy": ["mypy", "--strict", "--warn-unused-ignores", "--config-file="],
    "pyright": ["pyright", "--project", "pyright.json", "--pythonpath", sys.executable],
}
PYRIGHT_SETTINGS = {
    "typeCheckingMode": "standard",
    "reportUnnecessaryTypeIgnoreComment": "error",
    "enableTypeIgnoreComments": False,
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_consumer_of_the_wheel_passes(checker: str, tmp_path: Path) -> None:
    (tmp_path / "consumer.py").write_bytes(CONSUMER.read_bytes())
    (tmp_path / "pyright.json").write_text(json.dumps(PYRIGHT_SETTINGS))
    done = subprocess.run(
        [sys.executable, "-m", *CHECKERS[checker], "consumer.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
