"""Valkey GLIDE, async and sync, by the README's recipes.

With IamAuthConfig it signs by itself. Otherwise it cannot ask for a token: it reconnects with the last one that it was
given.
"""

import asyncio
import contextlib
import re
import threading

import behaviour
import gate as gates
import glide
import pytest

SIGNING, GIVEN, GIVEN_SYNC = range(3)  # the blocks' numbers
INTERVAL = 0.1  # seconds between renewals, where the README has minutes
every_second = lambda code: code.replace(
    "credential_provider=keys", "refresh_interval_seconds=1, credential_provider=keys"
)
for_clusters = lambda code: re.sub(r"\bGlideClient", "GlideClusterClient", code)
with_threads = lambda code: re.sub(r"async |await ", "", code.replace("from glide import", "from glide_sync import"))


# --- it signs by itself ---


@pytest.fixture
def signing(gate, application, recipe):
    """Run a coroutine function with a client's work, which is all about a key."""

    def run(scenario, edit=lambda code: code, gate=gate):
        async def main():
            client = await recipe("Valkey GLIDE", SIGNING, gate=gate, edit=edit).connect()

            async def operate():
                await client.set("key", "value")
                assert await client.get("key") == b"value"

            await scenario(operate)
            await client.close()

        asyncio.run(main())

    return run


def test_it_reconnects_with_a_token_of_its_own(gate, signing):
    async def scenario(operate):
        await operate()
        for _ in range(3):
            logins = len(gate.logins)
            await asyncio.to_thread(gate.cut_all)
            await behaviour.once_more(operate)
            assert len(gate.logins) > logins

    signing(scenario)
    assert gate.refusals == []


def test_it_comes_back_from_an_outage_that_outlasts_its_token(gate, signing):
    """The gate's clock is set so that only what was signed in the last few seconds is good."""

    async def scenario(operate):
        await operate()
        gate.refuse_next(10**6, gates.UNAVAILABLE)
        await asyncio.to_thread(gate.cut_all)
        await asyncio.to_thread(gate.wait_for, lambda: len(gate.refusals) >= 4)  # it waits longer after each
        gate.clock_offset = 897
        gate.refuse_next(0)
        await behaviour.once_more(operate)

    signing(scenario, edit=every_second)


def test_it_gives_no_token_to_a_certificate_for_another_name(gate, signing):
    scenario = lambda operate: behaviour.a_certificate_for_another_name_gets_no_token(gate, operate)
    signing(scenario)


def test_it_signs_for_clusters(three_shards, signing):
    three_shards.start_afresh()
    signing(lambda operate: operate(), edit=for_clusters, gate=three_shards)
    assert len(three_shards.logins) >= 3


def test_it_signs_with_threads(gate, recipe):
    client = recipe("Valkey GLIDE", SIGNING, edit=with_threads).connect()
    client.set("key", "value")
    gate.cut_all()
    with contextlib.suppress(glide.GlideError):  # it may not have noticed the cut yet
        client.get("key")
    assert client.get("key") == b"value"
    client.close()
    assert len(gate.logins) == 2


def test_it_cannot_sign_for_serverless(serverless, signing):
    serverless.start_afresh()
    with pytest.raises(glide.GlideError):
        signing(lambda operate: operate(), edit=for_clusters, gate=serverless)
    assert set(serverless.refusals) == {"ResourceType"}


# --- it is given tokens, for a serverless cache ---


class Async:
    """The first recipe."""

    def __init__(self, recipe, gate):
        self.names = recipe("Valkey GLIDE", GIVEN, gate=gate)

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

    def __init__(self, recipe, gate):
        self.names = recipe("Valkey GLIDE", GIVEN_SYNC, gate=gate)

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
def side(request, application, recipe, serverless):
    serverless.start_afresh()
    return request.param(recipe, serverless)


async def lifetimes_pass(gate, bare, count):
    """Return when that many connections that nobody renews have come to their end; in each, others renew twice."""
    for _ in range(count):
        with await asyncio.to_thread(bare.connect):
            for _ in range(2):
                logins = len(gate.logins)
                await asyncio.to_thread(gate.wait_for, lambda logins=logins: len(gate.logins) > logins + 1)
                await asyncio.to_thread(gate.pass_hours, gate.lifetime // 2)


def test_reconnects_with_the_token_it_was_given(serverless, side):
    async def scenario():
        async with side.connected():
            await side.operate()
            for _ in range(3):
                logins = len(serverless.logins)
                await side.store_new_token()
                await asyncio.to_thread(serverless.cut_all)
                await behaviour.once_more(side.operate)
                assert len(serverless.logins) > logins

    asyncio.run(scenario())
    assert serverless.refusals == []


def test_a_refusal_shows_and_passes(serverless, side):
    async def scenario():
        serverless.refuse_next(1000)
        with pytest.raises(glide.GlideError):
            async with side.connected():
                pass
        serverless.refuse_next(0)
        async with side.connected():
            await side.operate()

    asyncio.run(scenario())


def test_no_token_for_a_certificate_for_another_name(serverless, side):
    async def scenario():
        async with side.connected():
            await behaviour.a_certificate_for_another_name_gets_no_token(serverless, side.operate)

    asyncio.run(scenario())


def test_staying_logged_in_there_is_no_cut(serverless, recipe, side):
    bare = recipe("Nothing but the standard library", gate=serverless)

    async def worker(passing):
        while not passing.done():
            await side.operate()

    async def scenario():
        async with side.connected(), side.staying_logged_in():
            passing = asyncio.create_task(lifetimes_pass(serverless, bare, 3))
            await asyncio.gather(passing, *[worker(passing) for _ in range(4)])
            assert serverless.cuts <= 3 + 1  # those that nobody renewed, and one of the client's that bears no commands

    asyncio.run(scenario())
    assert serverless.refusals == []


def test_a_renewal_that_fails_is_not_the_last(serverless, side, caplog):
    async def scenario():
        async with side.connected(), side.staying_logged_in():
            refused = len(serverless.refusals)
            serverless.refuse_next(2)
            await asyncio.to_thread(serverless.wait_for, lambda: len(serverless.refusals) == refused + 2)
            logins = len(serverless.logins)
            await asyncio.to_thread(serverless.wait_for, lambda: len(serverless.logins) > logins)

    asyncio.run(scenario())
    assert "The cache login was not renewed" in [record.getMessage() for record in caplog.records]


def test_a_client_that_was_cut_off_until_its_token_expired_comes_back_with_the_next(serverless, side):
    async def scenario():
        async with side.connected():
            await side.operate()
            for _ in range(400):  # seconds by the application's clock
                side.names.auth.token()
            serverless.clock_offset = 300
            await asyncio.to_thread(serverless.cut_all)
            await asyncio.to_thread(serverless.wait_for, lambda: serverless.refusals)
            logins = len(serverless.logins)
            await side.store_new_token()
            await asyncio.to_thread(serverless.wait_for, lambda: len(serverless.logins) > logins)
            await behaviour.once_more(side.operate)

    asyncio.run(scenario())
    assert set(serverless.refusals) == {"expired"}
