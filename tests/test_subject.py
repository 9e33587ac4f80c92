"""The copy that is tested is the one that was meant: IAMCACHEAUTH_FOLDER, what a run says of it, what it refuses."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.subject import DESCRIPTION, iamcacheauth

TESTS = Path(__file__).resolve().parent
PYTEST = ["-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={TESTS.parent}"]
ONE_TEST = f"{TESTS / 'test_public_names.py'}::test_errors"
DESCRIBE = ["-c", "from support import subject; print(subject.DESCRIPTION)"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A vendored copy, which differs from the file that this run tests."""
    copy = tmp_path / "vendored" / "iamcacheauth.py"
    copy.parent.mkdir()
    copy.write_bytes(Path(iamcacheauth.__file__).read_bytes() + b"# vendored\n")
    return copy


def run(arguments: list[str], home: Path, named: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "IAMCACHEAUTH_FOLDER": named,
        "HOME": str(home),
        "USERPROFILE": str(home),
        "PYTHONPATH": str(TESTS),
        **variables,
    }
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=60)


def described(copy: Path) -> str:
    return f"tested: {copy}, SHA-256 {hashlib.sha256(copy.read_bytes()).hexdigest()}"


def test_this_run_describes_the_file_that_it_imported() -> None:
    assert DESCRIPTION.endswith(described(Path(iamcacheauth.__file__)).rpartition(os.sep)[2])


@pytest.mark.parametrize("named", ["{home}/vendored", "{home}/vendored/iamcacheauth.py", "~/vendored", "vendored/"])
def test_a_copy_is_named_by_its_folder_or_by_itself(copy: Path, tmp_path: Path, named: str) -> None:
    done = run(DESCRIBE, tmp_path, named.format(home=tmp_path))
    assert (done.stdout, done.stderr) == (f"{described(copy)}\n", "")


@pytest.mark.parametrize("quiet", [[], ["-q"]], ids=["", "quiet"])
def test_every_run_says_which_file_it_tests(copy: Path, tmp_path: Path, quiet: list[str]) -> None:
    done = run([*PYTEST, *quiet, ONE_TEST], tmp_path, str(copy))
    assert done.stdout.splitlines().count(described(copy)) == 1, done.stdout
    assert "1 passed" in done.stdout


def test_a_typo_is_an_error_of_usage(copy: Path, tmp_path: Path) -> None:
    done = run([*PYTEST, ONE_TEST], tmp_path, "~/vendord")
    assert (done.returncode, done.stdout) == (pytest.ExitCode.USAGE_ERROR, "")
    wanted = "the folder that has iamcacheauth.py in it, or that file itself, is wanted"
    assert done.stderr.strip() == f"ERROR: IAMCACHEAUTH_FOLDER=~/vendord: {wanted}"


@pytest.mark.parametrize(
    "named",
    [
        *("", "~", "~/vendord", "~/vendored/renamed.py", "~/vendored/missing.py"),
        *("~no-such-user/vendored", "$HOME/vendored"),
    ],
)
def test_what_is_not_there_is_not_silently_this_checkout(copy: Path, tmp_path: Path, named: str) -> None:
    copy.with_name("renamed.py").write_bytes(copy.read_bytes())
    done = run(DESCRIBE, tmp_path, named)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"IAMCACHEAUTH_FOLDER={named}: ")
    assert done.stderr.count("\n") == 1


def assert_mistaken(done: subprocess.CompletedProcess[str], copy: Path, other: object) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{copy} was to be tested, but iamcacheauth came from {other}\n"


def test_another_file_that_was_imported_already_is_not_taken_for_it(copy: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(TESTS), str(Path(iamcacheauth.__file__).parent)])
    done = run(["-c", f"import iamcacheauth; {DESCRIBE[1]}"], tmp_path, str(copy), PYTHONPATH=path)
    assert_mistaken(done, copy, iamcacheauth.__file__)


def test_a_package_of_the_same_name_is_not_taken_for_it(copy: Path, tmp_path: Path) -> None:
    package = copy.with_suffix("")
    package.mkdir()
    (package / "__init__.py").write_bytes(copy.read_bytes())
    assert_mistaken(run(DESCRIBE, tmp_path, str(copy)), copy, package / "__init__.py")
