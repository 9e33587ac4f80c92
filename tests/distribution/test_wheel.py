"""What pip installs is what people copy: the wheel is built twice, opened and looked into."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def build(folder: Path) -> dict[str, bytes]:
    """The files that a build leaves in ``folder``: the sdist, and the wheel that is made from it."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1767225600"})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    build(folder)
    return folder


def test_two_builds_are_the_same_bytes(distributions: Path, tmp_path: Path) -> None:
    assert build(tmp_path) == {path.name: path.read_bytes() for path in distributions.iterdir()}


def test_the_wheel_holds_the_module_its_types_and_the_licence_and_nothing_else(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    module = (ROOT / "iamcacheauth.py").read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        contents = {name.partition(".dist-info/")[2] or name: archive.read(name) for name in archive.namelist()}
    assert contents.pop("iamcacheauth.py") == module
    assert contents.pop("iamcacheauth-stubs/__init__.pyi") == module
    assert contents.pop("licenses/LICENSE.txt") == (ROOT / "LICENSE.txt").read_bytes()
    assert contents.keys() == {"METADATA", "WHEEL", "RECORD", "entry_points.txt"}
    assert b"Requires-Dist" not in contents["METADATA"]


def test_the_licence_in_the_file_is_the_licence() -> None:
    comment = (ROOT / "iamcacheauth.py").read_text(encoding="utf-8").partition('"""')[0]
    in_file = " ".join(word for word in comment.split() if word != "#")
    licence = (ROOT / "LICENSE.txt").read_text(encoding="utf-8")
    assert " ".join(licence.partition("Permission")[2].split()) in in_file
