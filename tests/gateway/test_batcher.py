"""Calls that wait for a server go there as one, and every caller gets its own answer or its own error."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic_ns

import numpy as np
import pytest

from adapters.base import ROUTINE, Batching, Endpoint, Servable, Urgency
from adapters.errors import BackendDied, BackendUnavailable, DeadlineExceeded, InferenceFailed, InvalidInput
from adapters.executions import TellsExecutions
from adapters.tensors import Tensors
from gateway.batcher import Batcher, batched
from gateway.dataplane import DataPlane
from gateway.registry import Registry
from gateway.types import Deployment, InferRequest, InferResponse, ModelTable, Serving, Standing, State, Target
from tests.gateway.desk import Desk, Server, y
from tests.gateway.fakes import HeldServable, endpoint
from tests.waiting import turns, until

AS_IT_COMES = Batching()


async def test_a_call_goes_out_at_once_and_what_comes_meanwhile_goes_out_together() -> None:
    desk = Desk()
    first = await desk.busy()
    waiting = [await desk.ask(value) for value in (1.0, 2.0, 3.0)]
    assert desk.server.seen == [[1000.0]]
    await desk.finish()
    assert desk.server.seen[1:] == [[1.0, 2.0, 3.0]]
    await desk.finish()
    assert [y(task) for task in (first, *waiting)] == [[2000.0], [2.0], [4.0], [6.0]]


async def test_as_many_batches_are_under_way_as_may_be_and_no_more() -> None:
    desk = Desk(at_once=2)
    tasks = [await desk.ask(value) for value in (1.0, 2.0, 3.0, 4.0)]
    assert desk.server.seen == [[1.0], [2.0]]
    await desk.finish()
    assert desk.server.seen[2:] == [[3.0, 4.0]]
    assert len(desk.server.running) == 2
    await desk.finish()
    await desk.finish()
    assert [y(task) for task in tasks] == [[2.0], [4.0], [6.0], [8.0]]


async def test_none_of_three_callers_gets_the_rows_of_all() -> None:
    """MLServer#1306: with adaptive batching, one caller got the whole batch's answer and the others none."""
    desk = Desk()
    first = await desk.busy()
    callers = [await desk.ask(*values) for values in ([1.0], [2.0, 3.0], [4.0, 5.0, 6.0])]
    await desk.finish()
    await desk.finish()
    assert [y(task) for task in (first, *callers)] == [[2000.0], [2.0], [4.0, 6.0], [8.0, 10.0, 12.0]]


async def test_no_batch_is_larger_than_the_limit() -> None:
    """BentoML#3710, #3859: requests of several rows made batches beyond max_batch_size."""
    desk = Desk(max_rows=4)
    tasks = [await desk.busy()]
    tasks += [await desk.ask(*[float(number)] * rows) for number, rows in enumerate([3, 2, 1, 5, 2])]
    while desk.server.running:
        await desk.finish()
    assert [len(rows) for rows in desk.server.seen] == [1, 4, 4, 5], "the one of five rows went alone"
    assert [len(y(task)) for task in tasks] == [1, 3, 2, 1, 5, 2]


async def test_the_batch_mates_of_one_that_hung_up_while_it_waited_are_answered_and_it_is_not_sent() -> None:
    """MLServer, ray#50046: one caller's leaving left its batch-mates without an answer."""
    desk = Desk()
    first = await desk.busy()
    left, leaves, right = [await desk.ask(value) for value in (1.0, 2.0, 3.0)]
    leaves.cancel()
    await desk.finish()
    await desk.finish()
    assert desk.server.seen[1:] == [[1.0, 3.0]]
    assert [y(task) for task in (first, left, right)] == [[2000.0], [2.0], [6.0]]


async def test_the_batch_mates_of_one_that_hung_up_while_the_batch_ran_are_answered() -> None:
    """MLServer, ray#50046: as above, later."""
    desk = Desk()
    await desk.busy()
    stays, leaves = [await desk.ask(value) for value in (1.0, 2.0)]
    await desk.finish()
    leaves.cancel()
    await turns()
    assert desk.server.cancelled == 0
    await desk.finish()
    assert y(stays) == [2.0]


async def test_a_batch_whose_callers_have_all_left_is_cancelled_and_the_next_one_sent() -> None:
    desk = Desk()
    await desk.busy()
    leave = [await desk.ask(value) for value in (1.0, 2.0)]
    await desk.finish()
    stays = await desk.ask(3.0)
    for task in leave:
        task.cancel()
    await turns()
    assert desk.server.cancelled == 1
    await desk.finish()
    assert y(stays) == [6.0]


async def test_a_batch_whose_callers_leave_before_it_has_begun_gives_its_place_back() -> None:
    desk = Desk()
    await desk.busy()
    leaves = await desk.ask(1.0)
    desk.server.finish()
    while not desk.batcher._batches:  # noqa: ASYNC110  # that very moment, and none later
        await asyncio.sleep(0)
    leaves.cancel()
    await turns()
    stays = await desk.ask(2.0)
    await desk.finish()
    assert y(stays) == [4.0]


async def test_a_caller_that_is_alone_and_leaves_cancels_its_call() -> None:
    desk = Desk()
    leaves = await desk.busy()
    waits = await desk.ask(1.0)
    leaves.cancel()
    await turns()
    assert desk.server.cancelled == 1
    await desk.finish()
    assert y(waits) == [2.0]


async def test_one_bad_row_fails_alone() -> None:
    desk = Desk()
    await desk.busy()
    good, bad, fine, left = [await desk.ask(value) for value in (1.0, -2.0, 3.0, 4.0)]
    await desk.finish()
    left.cancel()
    while desk.server.running:
        await desk.finish()
    assert desk.server.seen[1:] == [[1.0, -2.0, 3.0, 4.0], [1.0], [-2.0], [3.0]], "who left is not tried again"
    assert [y(good), y(fine)] == [[2.0], [6.0]]
    with pytest.raises(InvalidInput, match="a negative number"):
        await bad


@pytest.mark.parametrize("error", [BackendUnavailable("gone"), BackendDied("died"), RuntimeError("odd")])
async def test_what_is_wrong_with_the_server_is_told_to_all_and_nothing_is_tried_again(error: Exception) -> None:
    desk = Desk()
    await desk.busy()
    tasks = [await desk.ask(value) for value in (1.0, 2.0)]
    await desk.finish()
    await desk.finish(error)
    assert [task.exception() for task in tasks] == [error] * 2
    assert len(desk.server.seen) == 2


async def test_a_server_s_connection_that_ends_as_if_cancelled_leaves_nobody_waiting() -> None:
    desk = Desk()
    await desk.busy()
    waits = await desk.ask(1.0)
    await desk.finish()
    await desk.finish(asyncio.CancelledError())
    with pytest.raises(BackendUnavailable):
        await waits


async def test_a_call_whose_time_is_up_is_never_sent() -> None:
    desk = Desk()
    first = await desk.busy()
    soon_ns = monotonic_ns() + 1_000_000
    late, fine = await desk.ask(1.0, urgency=Urgency(soon_ns)), await desk.ask(2.0)
    await until(lambda: monotonic_ns() > soon_ns)
    await desk.finish()
    await desk.finish()
    assert desk.server.seen[1:] == [[2.0]]
    assert [y(first), y(fine)] == [[2000.0], [4.0]]
    with pytest.raises(DeadlineExceeded):
        await late
    alone = await desk.ask(1.0, urgency=Urgency(1))
    with pytest.raises(DeadlineExceeded):
        await alone
    assert len(desk.server.seen) == 2


async def test_the_most_pressing_go_first() -> None:
    desk = Desk(max_rows=1)
    await desk.busy()
    for value, priority in ((1.0, 9), (2.0, 5), (3.0, 1)):
        await desk.ask(value, urgency=Urgency(0, priority))
    for _ in range(4):
        await desk.finish()
    assert desk.server.seen[1:] == [[3.0], [2.0], [1.0]]


async def test_a_batch_presses_as_its_most_pressing_call_and_is_over_when_all_are() -> None:
    desk = Desk()
    await desk.busy()
    later_ns = monotonic_ns() + 10**12
    for urgency in (Urgency(later_ns, 5), Urgency(later_ns + 5, 2)):
        await desk.ask(1.0, urgency=urgency)
    await desk.finish()
    for urgency in (Urgency(later_ns, 5), Urgency(0, 7)):
        await desk.ask(1.0, urgency=urgency)
    await desk.finish()
    assert desk.server.urgencies[1:] == [Urgency(later_ns + 5, 2), Urgency(0, 5)]


async def test_only_calls_alike_go_together() -> None:
    desk = Desk()
    await desk.busy()
    for width in (1, 2, 1):
        await desk.ask(float(width), width=width)
    for _ in range(3):
        await desk.finish()
    assert desk.server.seen[1:] == [[1.0, 1.0], [2.0]]


async def test_a_batch_waits_for_company_where_that_is_wanted_and_goes_out_when_it_is_full() -> None:
    desk = Desk(max_rows=2, max_delay_ms=600_000)
    one = await desk.ask(1.0)
    assert desk.server.seen == []
    other = await desk.ask(2.0)
    assert desk.server.seen == [[1.0, 2.0]]
    await desk.finish()
    assert [y(one), y(other)] == [[2.0], [4.0]]


async def test_a_batch_that_finds_no_company_goes_out_when_its_time_is_over() -> None:
    desk = Desk(max_delay_ms=5)
    one = await desk.ask(1.0)
    await until(lambda: desk.server.running)
    await desk.finish()
    assert y(one) == [2.0]


async def test_a_batch_is_filled_up_to_a_size_that_the_model_prefers_and_cut_back() -> None:
    desk = Desk(allowed_rows=(2, 4))
    alone = await desk.ask(1.0)
    others = [await desk.ask(value) for value in (2.0, 3.0, 4.0)]
    await desk.finish()
    await desk.finish()
    assert desk.server.seen == [[1.0, 1.0], [2.0, 3.0, 4.0, 2.0]]
    assert [y(task) for task in (alone, *others)] == [[2.0], [4.0], [6.0], [8.0]]


async def test_a_latency_target_begins_with_one_row_and_lets_batches_grow_while_they_are_quick() -> None:
    desk = Desk(max_rows=1024, latency_target_ms=3_600_000)
    tasks = [await desk.ask(float(number)) for number in range(40)]
    while desk.server.running:
        await desk.finish()
    sizes = [len(rows) for rows in desk.server.seen]
    assert sizes[:5] == [1, 2, 3, 4, 5]
    assert [y(task) for task in tasks] == [[2.0 * number] for number in range(40)]


async def test_executions_are_told() -> None:
    desk = Desk()
    assert isinstance(desk.batcher, TellsExecutions)
    await desk.busy()
    for values in ([1.0], [2.0, 3.0]):
        await desk.ask(*values)
    leaves = await desk.ask(4.0)
    await desk.finish()
    leaves.cancel()
    await desk.finish()
    executions = desk.batcher.executions
    assert executions.calls.count == 3
    assert {rows: costs.count for rows, costs in executions.batches.items()} == {1: 1, 4: 1}
    costs = executions.batches[4]
    assert min(costs.queue_ns, costs.input_ns, costs.run_ns, costs.output_ns) > 0


async def test_whoever_waits_when_the_connection_is_closed_is_told_and_nobody_comes_in_after() -> None:
    desk = Desk()
    tasks = [await desk.busy(), await desk.ask(1.0)]
    await desk.batcher.aclose()
    await turns()
    assert desk.server.closed
    assert [type(task.exception()) for task in tasks] == [BackendUnavailable] * 2
    with pytest.raises(BackendUnavailable):
        await desk.batcher.infer({"x": np.ones((1, 1), np.float32)})


async def test_only_servers_that_may_be_sent_several_rows_get_a_batcher() -> None:
    client = HeldServable()
    server = endpoint("a", "tfserving")

    def wraps(**remote: str) -> bool:
        return isinstance(batched(client, replace(server, remote=remote), AS_IT_COMES), Batcher)

    assert wraps(max_rows="8")
    assert not wraps(max_rows="1")
    assert not wraps()
    worker = replace(endpoint("a", "onnxruntime"), remote={"max_rows": "8"})
    assert batched(client, worker, AS_IT_COMES) is client


async def test_one_more_batch_is_under_way_than_the_server_has_workers() -> None:
    server = replace(endpoint("a", "torchserve"), remote={"max_rows": "8", "workers": "3"})
    client = Server()
    batcher = batched(client, server, AS_IT_COMES)
    tasks = [asyncio.create_task(batcher.infer({"x": np.ones((1, 1), np.float32)})) for _ in range(10)]
    await turns()
    assert len(client.running) == 4
    while client.running:
        client.finish()
        await turns()
    assert all(task.done() for task in tasks)


class Published:
    """A held model behind a registry, published as a server that takes several rows."""

    def __init__(self) -> None:
        self.model = HeldServable()
        self.registry = Registry(self.connect, 60.0)
        self.deployment = Deployment("m", 1, "tfserving")

    async def connect(self, _: Endpoint) -> HeldServable:
        return self.model

    async def publish(self) -> None:
        server = replace(endpoint("a", "tfserving"), remote={"max_rows": "8", "workers": "0"})
        await self.registry.publish(self.deployment, server, Serving())
        there = {self.deployment: Standing(State.READY)}
        self.registry.show({"m": ModelTable("m", ("tfserving",), {}, there)})

    async def ask(self, value: float, outputs: tuple[str, ...] | None) -> asyncio.Task[InferResponse]:
        request = InferRequest(Target("m"), {"x": np.array([value], np.float32)}, outputs=outputs)
        task = asyncio.create_task(DataPlane(self.registry).infer(request))
        await turns()
        return task


async def test_each_caller_gets_the_outputs_that_it_asked_for_out_of_a_shared_batch() -> None:
    """MLServer#514: with adaptive batching, requested outputs were ignored."""
    published = Published()
    await published.publish()
    wanted: list[tuple[str, ...] | None] = [None, ("y",), ("x",), ("y", "x")]
    first, *tasks = [await published.ask(float(value), outputs) for value, outputs in enumerate([None, *wanted])]
    for _ in range(2):
        published.model.finish()
        await turns()
    assert [inputs["x"].tolist() for inputs in published.model.seen] == [[0.0], [1.0, 2.0, 3.0, 4.0]]
    answers = [{name: each.tolist() for name, each in (await task).outputs.items()} for task in tasks]
    assert answers == [{"x": [1.0], "y": [2.0]}, {"y": [4.0]}, {"x": [3.0]}, {"y": [8.0], "x": [4.0]}]
    await first
    assert published.registry.statistics()[published.deployment].execution_count == 2
    await published.registry.close()


async def test_what_only_a_client_can_do_goes_past_the_batches() -> None:
    published = Published()
    await published.publish()

    async def act(servable: Servable) -> bool:
        return servable is published.model

    assert await published.registry.lease(Target("m")).servable.let_through(act)
    await published.registry.close()
    assert published.model.closed


async def test_an_answer_that_has_not_a_row_for_each_is_asked_for_again_one_by_one() -> None:
    class Summing(Server):
        async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
            answer = await super().infer(inputs, urgency)
            return {"y": answer["y"].sum(0, keepdims=True)}

    desk = Desk()
    desk.batcher._servable = desk.server = Summing()
    await desk.busy()
    tasks = [await desk.ask(value) for value in (1.0, 2.0)]
    while desk.server.running:
        await desk.finish()
    assert [y(task) for task in tasks] == [[2.0], [4.0]]
    assert not isinstance(tasks[0].exception(), InferenceFailed)
