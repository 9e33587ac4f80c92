"""Celery and RQ, by the README's files, each with a worker process that lives through cuts and refusals."""

import contextlib
import importlib
import os
import pathlib
import subprocess
import sys

import celery
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

    def imported(heading, name, number=0, gate=gate, edit=lambda code: code):
        (tmp_path / f"{name}.py").write_text(edit(readme.block(heading, number, gate)))
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


def test_celery_gives_no_token_to_a_certificate_for_another_name(gate, module):
    app = module("Celery", "tasks").app
    assert_only_the_right_name_gets_a_token(gate, app)


def test_celery_with_a_class_named_in_the_url_gives_no_token_to_a_certificate_for_another_name(gate, module):
    url = module("Celery", "cache_login", number=1).url
    assert_only_the_right_name_gets_a_token(gate, celery.Celery("tasks", broker=url, backend=url))


def assert_only_the_right_name_gets_a_token(gate, app):
    send = lambda: app.send_task("task", retry=False, ignore_result=True)
    gate.certify("another-cache.example.com")
    with pytest.raises(kombu.exceptions.OperationalError, match="certificate"):
        send()
    with pytest.raises(redis.ConnectionError, match="certificate"):
        app.backend.client.get("key")
    assert gate.logins == gate.refusals == []
    gate.certify(gate.host)
    send()
    app.backend.client.get("key")
    assert len(gate.logins) >= 2
    app.close()


def test_celery_cannot_live_in_cluster_mode(serverless, module, application):
    serverless.start_afresh()
    tasks = module("Celery", "tasks", gate=serverless)
    with pytest.raises(kombu.exceptions.OperationalError, match="hash to the same slot"):
        tasks.add.apply_async([1, 2], retry=False, ignore_result=True)


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


def test_rq_gives_no_token_to_a_certificate_for_another_name(gate, module):
    worker = module("RQ", "worker")
    gate.certify("another-cache.example.com")
    with contextlib.closing(worker.connection), pytest.raises(redis.ConnectionError, match="certificate"):
        worker.queue.enqueue(pow, 1, 2)
    assert gate.logins == gate.refusals == []


def test_rq_cannot_live_in_cluster_mode(serverless, module, application):
    serverless.start_afresh()
    worker = module("RQ", "worker", gate=serverless)
    with contextlib.closing(worker.connection), pytest.raises(redis.ResponseError, match="hash to the same slot"):
        worker.queue.enqueue(pow, 1, 2)
