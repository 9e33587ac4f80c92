"""What every client must do, whichever it is. ``operate`` is a coroutine function that does some work through it."""

import asyncio
import contextlib
import itertools
import time

import pytest
from gate import LOOPBACK, PATIENCE


async def new_connections_get_new_tokens(gate, operate):
    await operate()
    for _ in range(3):
        logins = len(gate.logins)
        await asyncio.to_thread(gate.cut_all)
        await operate()
        assert len(gate.logins) > logins
    assert_no_token_was_used_twice(gate)


async def a_refusal_shows_and_passes(gate, operate, error):
    """``operate`` makes a new connection once the last one is cut."""
    await asyncio.to_thread(gate.cut_all)
    gate.refuse_next(1000)
    with pytest.raises(error, match="invalid username-password pair"):
        await operate()
    gate.refuse_next(0)
    await operate()


async def a_certificate_for_another_name_gets_no_token(gate, operate):
    """Although it comes from an authority that is trusted."""
    await operate()
    gate.certify("another-cache.example.com")
    await asyncio.to_thread(gate.cut_all)
    logins = len(gate.logins)
    with pytest.raises(Exception):  # noqa: B017, each client has one of its own
        await operate()
    assert (len(gate.logins), gate.refusals) == (logins, [])
    gate.certify(gate.host, LOOPBACK)
    await once_more(operate)
    assert len(gate.logins) > logins


async def once_more(operate):
    """Some clients fail until they are back, and do not say when that is."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception):
            return await operate()
        await asyncio.sleep(0.01)
    return await operate()


async def steady_traffic_survives_cuts(gate, operate):
    """No operation fails while the hours pass, some of which end connections; returns how many there were."""
    operations = 0
    for _ in range(5 * gate.lifetime):
        await asyncio.gather(asyncio.to_thread(gate.pass_hours), *[operate() for _ in range(8)])
        operations += 8
    assert len(gate.logins) >= 5
    assert gate.refusals == []
    assert_no_token_was_used_twice(gate)
    return operations


async def a_subscription_survives_cuts(gate, publish, receive):
    """``receive`` waits a moment for a message; what is published while the client reconnects may be lost."""
    numbers = itertools.count()
    await a_new_message_arrives(numbers, publish, receive)
    for _ in range(3):
        await asyncio.to_thread(gate.cut_all)
        await a_new_message_arrives(numbers, publish, receive)
    assert len(gate.logins) >= 4
    assert_no_token_was_used_twice(gate)


async def a_new_message_arrives(numbers, publish, receive):
    """One that was published after this began: older ones may still be under way."""
    first = next(numbers)
    for number in itertools.islice(numbers, 1000):
        await asyncio.to_thread(publish, str(number))
        message = await receive()
        if message and int(message["data"]) > first:
            return
    pytest.fail("no message arrives any more")


async def no_message_is_lost(publish, receive, meanwhile):
    """``receive`` waits until a message arrives; ``meanwhile`` is called between all of them."""
    for number in range(30):
        await asyncio.to_thread(publish, str(number))
        await asyncio.to_thread(meanwhile)
        assert int((await receive())["data"]) == number


def assert_no_token_was_used_twice(gate):
    tokens = [login.token for login in gate.logins if login.user == "my-iam-user"]
    assert len(set(tokens)) == len(tokens) > 0
