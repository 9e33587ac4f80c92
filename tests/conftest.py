from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator

import pytest
from hypothesis import settings

# No deadline: the machine's speed is not what these tests are about.
settings.register_profile("search", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "search")


# What is imported from support imports the module under test: not before an error about it can be told as one of usage.


def pytest_configure() -> None:
    try:
        import support.subject  # noqa: F401
    except SystemExit as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header() -> str:
    from support.subject import DESCRIPTION

    return DESCRIPTION


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not terminalreporter.showheader:  # a quiet run
        terminalreporter.write_line(pytest_report_header())


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No AWS settings of the machine's, and no way to its instance metadata."""
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@functools.lru_cache
def secrets() -> re.Pattern[str]:
    from support.examples import SECRET_KEY, SESSION_TOKEN

    return re.compile("|".join([re.escape(SECRET_KEY), re.escape(SESSION_TOKEN), "X-Amz-Signature=[0-9a-f]{64}"]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Fail a test that leaves a secret in its output or in the log."""
    report = yield
    if report.when == "teardown" and any(secrets().search(text) for _, text in report.sections):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} printed a secret"
    return report
