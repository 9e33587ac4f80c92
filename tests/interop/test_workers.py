"""Celery and RQ, by the README's files, each with a worker process that lives through cuts and refusals."""

import contextlib
import importlib
import os
import pathlib
import subprocess
import sys

import gate as gates
import kombu.exceptions
import pytest
import readme
import redis
from support.subject import iamcacheauth


@contextlib.contextmanager
def process(*arguments, folder):
    """A Python process that finds the recipe's file and the module."""
    path = os.pathsep.join([str(folder), str(pathlib.Path(iamcacheauth.__file__).parent)])
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env={**os.environ, "PYTHONPATH": path}, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()
    print((folder / "log").read_text())


@pytest.fixture
def module(gate, application, tmp_path, monkeypatch):
    """Write a block to a file under its name and import it."""

    def imported(heading, name):
        (tmp_path / f"{name}.py").write_text(readme.block(heading, 0, gate))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return imported


def test_celery_executes_tasks_over_broker_and_backend(gate, module, tmp_path):
    tasks = module("Celery", "tasks")
    with process("-m", "celery", "-A", "tasks", "worker", "--concurrency", "1", folder=tmp_path):
        assert tasks.add.delay(1, 2).get(timeout=gates.PATIENCE) == 3
        for number in range(2):
            logins = len(gate.logins)
            gate.cut_all()
            assert tasks.add.delay(number, 1).get(timeout=gates.PATIENCE) == number + 1
            assert len(gate.logins) > logins


def test_celery_shows_a_refusal_and_goes_on(gate, module, tmp_path):
    tasks = module("Celery", "tasks")
    gate.refuse_next(1000)
    with pytest.raises(kombu.exceptions.OperationalError, match="invalid username-password pair"):
        tasks.add.apply_async([1, 2], retry=False, ignore_result=True)
    with process("-m", "celery", "-A", "tasks", "worker", "--concurrency", "1", folder=tmp_path):
        refusals = len(gate.refusals)
        gate.wait_for(lambda: len(gate.refusals) > refusals)
        gate.refuse_next(0)
        assert tasks.add.delay(1, 2).get(timeout=gates.PATIENCE) == 3
    assert "invalid username-password pair" in (tmp_path / "log").read_text()


def test_rq_executes_jobs(gate, module, tmp_path):
    worker = module("RQ", "worker")
    with contextlib.closing(worker.connection), process("worker.py", folder=tmp_path):
        for number in range(3):
            job = worker.queue.enqueue(pow, number, 2)
            assert job.latest_result(timeout=gates.PATIENCE).return_value == number**2
            logins = len(gate.logins)
            gate.cut_all()
            gate.wait_for(lambda logins=logins: len(gate.logins) > logins)


def test_rq_shows_a_refusal_and_goes_on(gate, module):
    worker = module("RQ", "worker")
    with contextlib.closing(worker.connection):
        gate.refuse_next(1000)
        with pytest.raises(redis.AuthenticationError, match="invalid username-password pair"):
            worker.queue.enqueue(pow, 1, 2)
        gate.refuse_next(0)
        assert worker.queue.enqueue(pow, 1, 2).get_status() == "queued"
