"""What real workers say that their answers cost."""

from __future__ import annotations

import asyncio
from time import monotonic_ns

import pytest

from adapters.errors import InferenceFailed
from adapters.executions import Executions, TellsExecutions
from tests.adapters.worker import sessions
from tests.adapters.worker.workers import Gated
from tests.waiting import turns, until

_LONG_NS = 30_000_000


def batches(executions: Executions) -> dict[int, int]:
    """How many batches of how many rows."""
    return {rows: costs.count for rows, costs in executions.batches.items()}


async def test_three_calls_that_ran_together_are_one_execution_of_their_rows(gated: Gated) -> None:
    client = await gated.client()
    assert isinstance(client, TellsExecutions)
    first = await gated.begin(client, 0.0, 0.0)
    go_on = await gated.running()
    waiting = [await gated.begin(client, value) for value in (1.0, 2.0, 3.0)]
    gated.open()
    go_on()
    await asyncio.gather(first, *waiting)
    assert client.executions.calls.count == 4
    assert batches(client.executions) == {2: 1, 3: 1}


async def test_calls_of_several_connections_that_ran_together_are_one_execution(gated: Gated) -> None:
    clients = [await gated.client() for _ in range(3)]
    for client in clients:  # the worker takes a connection in between two batches
        known = await gated.begin(client, 0.0)
        (await gated.running())()
        await known
    first = await gated.begin(clients[0], 0.0, 0.0)
    go_on = await gated.running()
    waiting = [await gated.begin(client, 1.0) for client in clients]
    gated.open()
    go_on()
    await asyncio.gather(first, *waiting)
    assert [client.executions.calls.count for client in clients] == [3, 2, 2]
    assert sum(batches(client.executions).get(3, 0) for client in clients) == 1


async def test_the_time_in_which_another_batch_runs_is_the_queue_s_and_that_batch_s_own_run(gated: Gated) -> None:
    client = await gated.client()
    began_ns = monotonic_ns()
    first = await gated.begin(client, 0.0, 0.0)
    go_on = await gated.running()
    second = await gated.begin(client, 1.0)
    sent_ns = monotonic_ns()
    await until(lambda: monotonic_ns() - sent_ns > _LONG_NS)
    gated.open()
    go_on()
    await asyncio.gather(first, second)
    one, two = client.executions.batches[2], client.executions.batches[1]
    assert one.run_ns > _LONG_NS
    assert two.queue_ns > _LONG_NS, "it lay in the socket, unread"
    assert client.executions.calls.queue_ns == one.queue_ns + two.queue_ns
    for each in (one, two):
        assert min(each.input_ns, each.run_ns, each.output_ns) > 0
        assert each.queue_ns + each.input_ns + each.run_ns + each.output_ns < monotonic_ns() - began_ns


@pytest.mark.parametrize("bad", [sessions.BAD, sessions.ODD])
async def test_a_call_that_fails_cost_nothing_and_those_that_run_again_are_executions_of_their_own(
    gated: Gated, bad: float
) -> None:
    client = await gated.client()
    first = await gated.begin(client, 0.0, 0.0)
    go_on = await gated.running()
    good, fails, fine = [await gated.begin(client, value) for value in (1.0, bad, 2.0)]
    gated.open()
    go_on()
    await asyncio.gather(first, good, fine)
    with pytest.raises(InferenceFailed):
        await fails
    assert client.executions.calls.count == 3
    assert batches(client.executions) == {2: 1, 1: 2}


async def test_a_caller_who_left_while_its_batch_ran_is_in_the_batch_and_not_among_the_answers(gated: Gated) -> None:
    client = await gated.client()
    first = await gated.begin(client, 0.0, 0.0, 0.0)
    go_on = await gated.running()
    leaves, stays = [await gated.begin(client, value) for value in (1.0, 2.0)]
    go_on()
    await first
    go_on = await gated.running()
    leaves.cancel()
    await turns()
    gated.open()
    go_on()
    await stays
    assert client.executions.calls.count == 2
    assert batches(client.executions) == {3: 1, 2: 1}
