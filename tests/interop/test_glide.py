"""Valkey GLIDE, async and sync, by the README's recipes.

A GLIDE client cannot ask for a token: it reconnects with the last one that it was given.
"""

import asyncio
import contextlib
import threading

import behaviour
import glide
import pytest

INTERVAL = 0.1  # seconds between renewals, where the README has minutes


class Async:
    """The first recipe."""

    def __init__(self, recipe):
        self.names = recipe("Valkey GLIDE", 0)

    @contextlib.asynccontextmanager
    async def connected(self):
        self.client = await self.names.connect()
        try:
            yield
        finally:
            await self.client.close()

    async def operate(self):
        await self.client.set("key", "value")
        assert await self.client.get("key") == b"value"

    async def store_new_token(self):
        await self.client.update_connection_password(self.names.auth.token())

    @contextlib.asynccontextmanager
    async def staying_logged_in(self):
        renewal = asyncio.create_task(self.names.stay_logged_in(self.client, INTERVAL))
        try:
            yield
        finally:
            renewal.cancel()
            await asyncio.wait([renewal])


class Sync:
    """The second recipe, in threads."""

    def __init__(self, recipe):
        self.names = recipe("Valkey GLIDE", 1)

    @contextlib.asynccontextmanager
    async def connected(self):
        self.client = await asyncio.to_thread(self.names.connect)
        try:
            yield
        finally:
            await asyncio.to_thread(self.client.close)

    async def operate(self):
        await asyncio.to_thread(self.client.set, "key", "value")
        assert await asyncio.to_thread(self.client.get, "key") == b"value"

    async def store_new_token(self):
        await asyncio.to_thread(self.client.update_connection_password, self.names.auth.token())

    @contextlib.asynccontextmanager
    async def staying_logged_in(self):
        stopped = threading.Event()
        renewal = threading.Thread(target=self.names.stay_logged_in, args=(self.client, stopped, INTERVAL))
        renewal.start()
        try:
            yield
        finally:
            stopped.set()
            await asyncio.to_thread(renewal.join)


@pytest.fixture(params=[Async, Sync])
def side(request, recipe):
    return request.param(recipe)


async def lifetimes_pass(gate, bare, count):
    """Return when that many connections that nobody renews have come to their end; in each, others renew twice."""
    for _ in range(count):
        with await asyncio.to_thread(bare.connect):
            for _ in range(2):
                logins = len(gate.logins)
                await asyncio.to_thread(gate.wait_for, lambda logins=logins: len(gate.logins) > logins)
                await asyncio.to_thread(gate.pass_hours, gate.lifetime // 2)


def test_reconnects_with_the_token_it_was_given(gate, side):
    async def scenario():
        async with side.connected():
            await side.operate()
            for _ in range(3):
                await side.store_new_token()
                await asyncio.to_thread(gate.cut_all)
                with contextlib.suppress(glide.GlideError):  # it may not have noticed the cut yet
                    await side.operate()
                await side.operate()

    asyncio.run(scenario())
    assert len(gate.logins) == 4
    behaviour.assert_no_token_was_used_twice(gate)


def test_a_refusal_shows_and_passes(gate, side):
    async def scenario():
        gate.refuse_next()
        with pytest.raises(glide.GlideError, match=r"WRONGPASS|invalid username-password pair"):
            async with side.connected():
                pass
        async with side.connected():
            await side.operate()

    asyncio.run(scenario())


def test_staying_logged_in_there_is_no_cut(gate, recipe, side):
    bare = recipe("Nothing but the standard library")

    async def worker(passing):
        while not passing.done():
            await side.operate()

    async def scenario():
        async with side.connected(), side.staying_logged_in():
            passing = asyncio.create_task(lifetimes_pass(gate, bare, 3))
            await asyncio.gather(passing, *[worker(passing) for _ in range(4)])
            assert gate.cuts == 3  # those that nobody renewed

    asyncio.run(scenario())
    assert gate.refusals == []
    behaviour.assert_no_token_was_used_twice(gate)


def test_a_renewal_that_fails_is_not_the_last(gate, side, caplog):
    async def scenario():
        async with side.connected(), side.staying_logged_in():
            gate.refuse_next(2)
            await asyncio.to_thread(gate.wait_for, lambda: len(gate.refusals) == 2)
            logins = len(gate.logins)
            await asyncio.to_thread(gate.wait_for, lambda: len(gate.logins) > logins)

    asyncio.run(scenario())
    assert [record.getMessage() for record in caplog.records] == ["The cache login was not renewed"] * 2


def test_a_client_that_was_cut_off_until_its_token_expired_stays_lost(gate, side):
    async def scenario():
        async with side.connected():
            await side.operate()
            for _ in range(400):  # seconds by the application's clock
                side.names.auth.token()
            gate.clock_offset = 300
            await asyncio.to_thread(gate.cut_all)
            await asyncio.to_thread(gate.wait_for, lambda: gate.refusals)
            await side.store_new_token()
            with pytest.raises(glide.TimeoutError):
                await side.operate()
        assert set(gate.refusals) == {"expired"}
        async with side.connected():
            await side.operate()

    asyncio.run(scenario())
