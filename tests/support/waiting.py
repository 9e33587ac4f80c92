"""Calls in threads of their own, and waiting for what must happen."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from time import monotonic, sleep
from types import FrameType
from typing import Any, Callable

from support.subject import iamcacheauth

PATIENCE = 120  # seconds; only a test that fails waits so long
SLACK = 10.0  # seconds that a machine with other things to do may add to a time-out; what does not hold one has no end


class Caller(threading.Thread):
    """Calls a function in a thread of its own."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._outcome: Future[Any] = Future()
        self.start()

    def run(self) -> None:
        try:
            self._outcome.set_result(self._function())
        except BaseException as error:
            self._outcome.set_exception(error)

    def result(self) -> Any:
        """What the function returned; or raise what it raised."""
        self.join(PATIENCE)
        return self._outcome.result(0)

    def exception(self) -> BaseException | None:
        """What the function raised, if anything."""
        self.join(PATIENCE)
        return self._outcome.exception(0)

    def is_waiting(self) -> bool:
        """Whether the thread is at rest in a wait of threading's."""
        frame = sys._current_frames().get(self.ident or 0)
        return frame is not None and (frame.f_globals["__name__"], frame.f_code.co_name) == ("threading", "wait")


class Fetch:
    """What RefreshingCredentials calls: gives numbered sets of credentials, fails or hangs as a test tells it to."""

    def __init__(self) -> None:
        self.calls = 0
        self.running: list[threading.Thread] = []
        self.most_at_a_time = 0
        self.lifetime = 3600.0
        self.failure: BaseException | None = None
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    def __call__(self) -> iamcacheauth.StaticCredentials:
        self.calls += 1
        number = self.calls
        self.running.append(threading.current_thread())
        self.most_at_a_time = max(self.most_at_a_time, len(self.running))
        try:
            self.begun.set()
            if not self.may_end.wait(PATIENCE):
                raise AssertionError("nobody let the fetch end")
            if self.failure:
                raise self.failure
        finally:
            self.running.remove(threading.current_thread())
        expiration = time.time() + self.lifetime
        return iamcacheauth.StaticCredentials(f"key-{number}", f"secret-{number}", f"token-{number}", expiration)

    def hold(self) -> None:
        """Let the next call begin, but not end."""
        self.begun.clear()
        self.may_end.clear()


class Background:
    """Threads that were started since, other than Callers."""

    def __init__(self) -> None:
        self._before = {*threading.enumerate()}

    def threads(self) -> list[threading.Thread]:
        ours = self._before | {threading.current_thread()}
        return [thread for thread in threading.enumerate() if thread not in ours and not isinstance(thread, Caller)]

    def end(self) -> None:
        """Until all of them have ended: a renewal in the background is over then, in every respect."""
        for thread in self.threads():
            thread.join(PATIENCE)
            if thread.is_alive():
                raise AssertionError(f"{thread} does not end")


@contextmanager
def at_line(
    number: int,
    action: Callable[[], object],
    *,
    in_new_threads: bool = False,
) -> Iterator[list[int]]:
    """Do something before the number-th line in the module: what another thread or a signal may do there.

    in_new_threads: in those that are started meanwhile instead of in this one.
    Yields a list that is empty as long as it has not happened.
    """
    lines = itertools.count()
    happened: list[int] = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != iamcacheauth.__file__:
            return None
        if event == "line" and next(lines) == number:
            happened.append(frame.f_lineno)
            action()
        return trace

    before = sys.gettrace()
    threads_before = threading.gettrace() if sys.version_info >= (3, 10) else None
    (threading if in_new_threads else sys).settrace(trace)
    try:
        yield happened
    finally:
        if in_new_threads:
            threading.settrace(threads_before)  # type: ignore[arg-type]
        else:
            sys.settrace(before)


def interruption_at(number: int) -> AbstractContextManager[list[int]]:
    """KeyboardInterrupt before this thread's number-th line in the module, as if from a signal handler."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    return at_line(number, interrupt)


def wait_until(condition: Callable[[], object]) -> None:
    """In real time, also where a test has put a clock of its own in place."""
    deadline = monotonic() + PATIENCE
    while not condition():
        if monotonic() > deadline:
            raise AssertionError("what was waited for did not happen")
        sleep(0.001)
