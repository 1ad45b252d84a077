"""A frontend's table: requests go to what is ready, and nothing is let go while somebody uses it."""

from __future__ import annotations

import asyncio

import pytest

from adapters.base import Endpoint
from adapters.errors import BackendUnavailable
from gateway.errors import ModelNotFound, Overloaded, VersionNotReady
from gateway.registry import Registry
from gateway.statistics import Duration
from gateway.types import Deployment, Limits, ModelTable, Serving, Standing, State, Target
from tests.gateway.fakes import HeldServable, X, endpoint
from tests.waiting import turns

ONE, TWO = (Deployment("m", version, "onnxruntime") for version in (1, 2))
TARGET = Target("m")


class Frontend:
    """A registry over held models, by address."""

    def __init__(self, drain_timeout_s: float = 60.0) -> None:
        self.models: dict[str, HeldServable] = {}
        self.unreachable: set[str] = set()
        self.registry = Registry(self.connect, drain_timeout_s)

    async def connect(self, endpoint: Endpoint) -> HeldServable:
        if endpoint.address in self.unreachable:
            raise BackendUnavailable("nobody listens")
        model = self.models[endpoint.address] = HeldServable(endpoint.address)
        return model

    async def publish(self, deployment: Deployment, address: str, limits: Limits | None = None) -> None:
        await self.registry.publish(deployment, endpoint(address), Serving(limits or Limits()))

    def show(self, labels: dict[str, int] | None = None, **states: str) -> None:
        """States by version: `v1="READY"`."""
        there = {
            Deployment("m", int(name[1:]), "onnxruntime"): Standing(State(state)) for name, state in states.items()
        }
        self.registry.show({"m": ModelTable("m", ("onnxruntime",), labels or {}, there)})

    async def begin(self, target: Target = TARGET) -> asyncio.Task[str]:
        """A request; gives the address of who answered."""

        async def request() -> str:
            with self.registry.lease(target) as lease:
                await lease.servable.infer(X)
                return lease.endpoint.address

        task = asyncio.create_task(request())
        await turns()
        return task


async def test_a_request_goes_to_what_was_published() -> None:
    frontend = Frontend()
    await frontend.publish(ONE, "a")
    frontend.show(v1="READY")
    request = await frontend.begin()
    frontend.models["a"].finish()
    assert await request == "a"


async def test_what_is_not_there_is_said_every_time_and_never_remembered() -> None:
    frontend = Frontend()
    for _ in range(2):
        with pytest.raises(ModelNotFound):
            frontend.registry.lease(TARGET)
    frontend.show(v1="LOADING")
    for _ in range(2):
        with pytest.raises(VersionNotReady):
            frontend.registry.lease(TARGET)
    await frontend.publish(ONE, "a")
    frontend.show(v1="READY")
    assert frontend.registry.lease(TARGET).endpoint.address == "a"


async def test_a_route_is_chosen_anew_whenever_the_table_changes() -> None:
    frontend = Frontend()
    await frontend.publish(ONE, "a")
    await frontend.publish(TWO, "b")
    for shown, answers in (({"v1": "READY"}, "a"), ({"v1": "READY", "v2": "READY"}, "b"), ({"v1": "READY"}, "a")):
        frontend.show(**shown)
        assert frontend.registry.lease(TARGET).endpoint.address == answers
    frontend.show({"stable": 1}, v1="READY", v2="READY")
    assert frontend.registry.lease(TARGET).endpoint.address == "a"


async def test_withdrawing_waits_for_the_last_answer_and_takes_no_new_request() -> None:
    frontend = Frontend()
    await frontend.publish(ONE, "a")
    frontend.show(v1="READY")
    requests = [await frontend.begin() for _ in range(2)]
    withdrawing = asyncio.create_task(frontend.registry.withdraw(ONE, endpoint("a")))
    await turns()
    with pytest.raises(VersionNotReady, match="m/1@onnxruntime is being withdrawn"):
        frontend.registry.lease(TARGET)
    for request in requests:
        assert not withdrawing.done()
        assert not frontend.models["a"].closed
        frontend.models["a"].finish()
        assert await request == "a"
    await withdrawing
    assert frontend.models["a"].closed


async def test_requests_that_wait_for_their_turn_are_answered_before_a_withdrawal_ends() -> None:
    frontend = Frontend()
    await frontend.publish(ONE, "a", Limits(max_in_flight=1))
    frontend.show(v1="READY")
    requests = [await frontend.begin() for _ in range(3)]
    withdrawing = asyncio.create_task(frontend.registry.withdraw(ONE, endpoint("a")))
    for request in requests:
        await turns()
        frontend.models["a"].finish()
        assert await request == "a"
    await withdrawing


async def test_a_request_that_fails_or_is_cancelled_ends_its_lease() -> None:
    frontend = Frontend()
    await frontend.publish(ONE, "a")
    frontend.show(v1="READY")
    fails, leaves = await frontend.begin(), await frontend.begin()
    frontend.models["a"].finish(RuntimeError("no"))
    leaves.cancel()
    await asyncio.gather(fails, leaves, return_exceptions=True)
    await asyncio.wait_for(frontend.registry.withdraw(ONE, endpoint("a")), 10)


async def test_a_withdrawal_does_not_wait_for_ever() -> None:
    frontend = Frontend(drain_timeout_s=0.01)
    await frontend.publish(ONE, "a")
    frontend.show(v1="READY")
    request = await frontend.begin()
    await asyncio.wait_for(frontend.registry.withdraw(ONE, endpoint("a")), 10)
    with pytest.raises(BackendUnavailable):
        await request


async def test_what_replaces_an_endpoint_takes_all_further_requests_and_the_old_one_keeps_its_own() -> None:
    frontend = Frontend()
    await frontend.publish(ONE, "a")
    frontend.show(v1="READY")
    old = await frontend.begin()
    await frontend.publish(ONE, "b")
    new = await frontend.begin()
    withdrawing = asyncio.create_task(frontend.registry.withdraw(ONE, endpoint("a")))
    await turns()
    frontend.models["b"].finish()
    assert await new == "b"
    assert not withdrawing.done()
    frontend.models["a"].finish()
    assert await old == "a"
    await withdrawing
    assert (frontend.models["a"].closed, frontend.models["b"].closed) == (True, False)
    assert frontend.registry.lease(TARGET).endpoint.address == "b"


async def test_when_the_replacement_is_withdrawn_first_the_earlier_endpoint_answers_again() -> None:
    frontend = Frontend()
    await frontend.publish(ONE, "a")
    frontend.show(v1="READY")
    await frontend.publish(ONE, "b")
    await frontend.registry.withdraw(ONE, endpoint("b"))
    request = await frontend.begin()
    frontend.models["a"].finish()
    assert await request == "a"
    await frontend.registry.withdraw(ONE, endpoint("a"))
    assert frontend.models["a"].closed
    with pytest.raises(VersionNotReady):
        frontend.registry.lease(TARGET)


async def test_an_endpoint_that_cannot_be_reached_replaces_nothing() -> None:
    frontend = Frontend()
    await frontend.publish(ONE, "a")
    frontend.show(v1="READY")
    frontend.unreachable.add("b")
    with pytest.raises(BackendUnavailable):
        await frontend.publish(ONE, "b")
    assert frontend.registry.lease(TARGET).endpoint.address == "a"
    assert not frontend.models["a"].closed


async def test_withdrawing_what_is_gone_is_no_error() -> None:
    frontend = Frontend()
    await frontend.registry.withdraw(ONE, endpoint("a"))
    await frontend.publish(ONE, "a")
    await frontend.registry.withdraw(ONE, endpoint("a"))
    await frontend.registry.withdraw(ONE, endpoint("a"))


async def test_a_withdrawal_that_is_cancelled_has_still_let_the_connection_go() -> None:
    frontend = Frontend()
    await frontend.publish(ONE, "a")
    frontend.show(v1="READY")
    request = await frontend.begin()
    withdrawing = asyncio.create_task(frontend.registry.withdraw(ONE, endpoint("a")))
    await turns()
    withdrawing.cancel()
    await asyncio.gather(withdrawing, request, return_exceptions=True)
    assert frontend.models["a"].closed


async def test_each_deployment_has_its_own_limits() -> None:
    frontend = Frontend()
    await frontend.publish(ONE, "a", Limits(max_in_flight=1, max_queue=0, timeout_ms=7))
    frontend.show(v1="READY")
    assert frontend.registry.lease(TARGET).serving.limits.timeout_ms == 7
    first, second = await frontend.begin(), await frontend.begin()
    assert isinstance(second.exception(), Overloaded)
    frontend.models["a"].finish()
    await first


async def test_ready_is_once_all_that_was_there_at_the_start_is_loaded_or_failed_and_stays() -> None:
    frontend = Frontend()
    registry = frontend.registry
    waiting = asyncio.create_task(registry.wait_ready())
    seen = [registry.ready]
    for states in (
        {"v1": "FOUND"},
        {"v1": "READY", "v2": "LOADING"},
        {"v1": "READY", "v2": "FAILED"},
        {"v3": "LOADING"},
    ):
        frontend.show(**states)
        seen.append(registry.ready)
    assert seen == [False, False, False, True, True]
    await waiting
    registry.stop()
    assert not registry.ready


async def test_what_was_ready_at_the_start_is_remembered_as_that() -> None:
    frontend = Frontend()
    frontend.show(v1="READY", v2="LOADING")
    assert frontend.registry.at_startup == frozenset()
    frontend.show(v1="READY", v2="FAILED")
    frontend.show(v1="READY", v2="READY", v3="READY")
    assert frontend.registry.at_startup == {ONE}


async def test_an_empty_repository_is_ready_once_it_was_looked_at() -> None:
    registry = Frontend().registry
    assert not registry.ready
    registry.show({})
    assert registry.ready


async def test_close_closes_every_connection_drained_or_not() -> None:
    frontend = Frontend()
    await frontend.publish(ONE, "a")
    await frontend.publish(ONE, "b")
    await frontend.publish(TWO, "c")
    frontend.show(v1="READY")
    request = await frontend.begin()
    await frontend.registry.close()
    assert [model.closed for model in frontend.models.values()] == [True] * 3
    with pytest.raises(BackendUnavailable):
        await request


async def test_statistics_outlive_an_endpoint_that_is_replaced() -> None:
    frontend = Frontend()
    await frontend.publish(ONE, "a")
    frontend.show(v1="READY")
    earlier = frontend.registry.lease(TARGET)
    earlier.statistics.succeeded(2, 100)
    await frontend.publish(ONE, "b")
    frontend.registry.lease(TARGET).statistics.succeeded(1, 10)
    earlier.statistics.succeeded(4, 1000)  # which it had begun before
    await frontend.registry.withdraw(ONE, endpoint("a"))
    frontend.show(v1="READY")
    (snapshot,) = frontend.registry.statistics().values()
    assert (snapshot.inference_count, snapshot.inference_stats.success) == (7, Duration(3, 1110))


async def test_statistics_outlive_a_death_and_go_with_their_deployment() -> None:
    frontend = Frontend()
    await frontend.publish(ONE, "a")
    await frontend.publish(TWO, "c")
    frontend.show(v1="READY", v2="READY")
    frontend.registry.lease(Target("m", 1)).statistics.failed(5)
    await frontend.registry.withdraw(ONE, endpoint("a"))
    for state in ("FAILED", "LOADING"):
        frontend.show(v1=state, v2="READY")
    await frontend.publish(ONE, "b")
    frontend.show(v1="READY", v2="READY")
    told = frontend.registry.statistics()
    assert {each: snapshot.inference_stats.fail.count for each, snapshot in told.items()} == {ONE: 1, TWO: 0}
    await frontend.registry.withdraw(ONE, endpoint("b"))
    frontend.show(v2="READY")
    assert list(frontend.registry.statistics()) == [TWO]
    await frontend.publish(ONE, "d")
    assert frontend.registry.statistics()[ONE].inference_stats.fail.count == 0


async def test_a_table_that_does_not_know_yet_what_is_published_costs_it_no_statistics() -> None:
    frontend = Frontend()
    await frontend.publish(ONE, "a")
    frontend.show(v2="LOADING")
    frontend.show(v1="READY", v2="LOADING")
    assert list(frontend.registry.statistics()) == [ONE]
    frontend.registry.lease(TARGET).statistics.succeeded(1, 1)
    assert frontend.registry.statistics()[ONE].inference_count == 1
