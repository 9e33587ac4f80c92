"""arq, which wants a redis-py below 6 and so is in the environment of redis-py 5 only, by the README's line."""

import asyncio

import behaviour
import pytest
import readme

arq = pytest.importorskip("arq")


@pytest.fixture
def with_arq(gate, application):
    """Run a coroutine function with the work of the line's client."""

    def run(scenario, gate=gate):
        async def main():
            names = vars(readme.run("Frameworks", 0, gate))
            client = eval(readme.table_line("Frameworks", "arq", 1, gate), {**names, "ArqRedis": arq.ArqRedis})

            async def operate():
                job = await client.enqueue_job("function")
                assert (await job.info()).function == "function"

            await scenario(operate)
            await client.aclose()

        asyncio.run(main())

    return run


def test_every_new_connection_logs_in(gate, with_arq):
    with_arq(lambda operate: behaviour.new_connections_get_new_tokens(gate, operate))


def test_a_certificate_for_another_name_gets_no_token(gate, with_arq):
    with_arq(lambda operate: behaviour.a_certificate_for_another_name_gets_no_token(gate, operate))


def test_cluster_mode_is_not_for_it(serverless, with_arq):
    serverless.start_afresh()
    with pytest.raises(Exception, match="hash to the same slot"):
        with_arq(lambda operate: operate(), gate=serverless)
