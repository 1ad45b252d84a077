"""Several frontends as one: each has all of it, none is waited for in vain, and nothing is lost when one dies."""

from __future__ import annotations

import asyncio

import pytest

from adapters.errors import BackendUnavailable, LoadFailed
from gateway.errors import ModelNotFound, NotAllowed, VersionNotReady
from gateway.frontends import member, slot
from gateway.frontends import messages as m
from gateway.frontends.link import PeerFailed
from gateway.protocols.model_repository import Readiness
from gateway.types import Caching, Limits, Serving, Target
from gateway.versions import Restarts
from tests.gateway.fakes import endpoint
from tests.gateway.frontends.world import ONE, TWO, World, counts
from tests.waiting import turns, until

M = Target("m")


async def test_every_frontend_answers_with_what_was_published_and_shown(world: World) -> None:
    await world.publish(ONE, "a")
    world.show(v1="READY")
    await world.group.shown()
    assert [each.answers(M) for each in world.frontends] == ["a", "a"]


async def test_a_publish_returns_once_every_frontend_has_connected(world: World) -> None:
    gate = world.gates[2, "a"] = asyncio.Event()
    publishing = asyncio.create_task(world.publish(ONE, "a"))
    await until(lambda: "a" in world[1].models)
    await turns()
    assert not publishing.done()
    gate.set()
    await publishing
    assert "a" in world[2].models


async def test_a_frontend_that_dies_meanwhile_is_not_waited_for(world: World) -> None:
    world.gates[2, "a"] = asyncio.Event()
    publishing = asyncio.create_task(world.publish(ONE, "a"))
    await until(lambda: any(isinstance(act, m.Publish) for act in world[2].told))
    del world.gates[2, "a"]
    world[2].die()
    await publishing
    world.show(v1="READY")
    await world.settled()
    assert [each.answers(M) for each in world.frontends] == ["a", "a"]


async def test_where_one_cannot_connect_the_publish_fails_and_the_others_take_it_back(world: World) -> None:
    await world.publish(ONE, "a")
    world.show(v1="READY")
    world.unreachable.add((2, "b"))
    with pytest.raises(BackendUnavailable, match="nobody listens there"):
        await world.publish(ONE, "b")
    assert [each.answers(M) for each in world.frontends] == ["a", "a"]
    assert world[1].models["b"].closed
    world.unreachable.clear()
    assert (await world.revive(1)).answers(M) == "a", "what was taken back is not handed on either"


async def test_what_runs_already_on_what_is_taken_back_is_answered_first(world: World) -> None:
    world.show(v1="READY")
    world.unreachable.add((2, "a"))
    gate = world.gates[2, "a"] = asyncio.Event()
    publishing = asyncio.create_task(world.publish(ONE, "a"))
    await until(lambda: "a" in world[1].models)
    await turns()
    request = await world[1].begin()
    gate.set()
    await turns(50)
    assert not publishing.done()
    world[1].models["a"].finish()
    assert await request == "a"
    with pytest.raises(BackendUnavailable):
        await publishing


async def test_a_publish_that_is_given_up_leaves_nothing_behind(world: World) -> None:
    gate = world.gates[1, "a"] = asyncio.Event()
    publishing = asyncio.create_task(world.publish(ONE, "a"))
    await until(lambda: "a" in world[2].models)
    publishing.cancel()
    await turns()
    gate.set()
    await asyncio.gather(publishing, return_exceptions=True)
    assert publishing.cancelled()
    assert all(each.models["a"].closed for each in world.frontends)
    await world.revive(2)
    assert world[2].models == {}


async def test_a_withdrawal_returns_once_every_frontend_has_answered_its_last_request(world: World) -> None:
    await world.publish(ONE, "a")
    world.show(v1="READY")
    await world.group.shown()
    request = await world[2].begin()
    withdrawing = asyncio.create_task(world.withdraw(ONE, "a"))
    await until(lambda: world[1].models["a"].closed)
    await turns()
    assert not withdrawing.done()
    world[2].models["a"].finish()
    assert await request == "a"
    await withdrawing
    assert world[2].models["a"].closed


async def test_a_frontend_that_dies_with_requests_holds_up_no_withdrawal(world: World) -> None:
    await world.publish(ONE, "a")
    world.show(v1="READY")
    await world.group.shown()
    request = await world[2].begin()
    withdrawing = asyncio.create_task(world.withdraw(ONE, "a"))
    await turns()
    world[2].die()
    await withdrawing
    request.cancel()
    await world.settled()
    assert world[2].models == {}


async def test_a_successor_has_everything_before_it_listens(world: World) -> None:
    await world.publish(ONE, "a")
    await world.publish(TWO, "c")
    world.show({"stable": 1}, v1="READY", v2="READY")
    world.gates[1, "c"] = asyncio.Event()
    world[1].die()
    await until(lambda: len(world.lives[1]) == 2 and "a" in world[1].models)
    await turns()
    assert world[1].ports.accepts == []
    world.gates[1, "c"].set()
    await world.settled()
    assert world[1].ports.accepts == [1]
    assert (world[1].answers(M), world[1].answers(Target("m", 2))) == ("a", "c")
    assert world[1].registry.ready


async def test_a_successor_knows_the_tables_before_it_listens(world: World) -> None:
    world.show(v1="READY")
    world.held = (m.Show,)
    world[1].die()
    await until(lambda: len(world.lives[1]) == 2 and world[1].told)
    await turns()
    assert world[1].ports.accepts == []
    world[1].release()
    await world.settled()
    assert world[1].ports.accepts == [1]


async def test_a_successor_knows_what_was_replaced_and_falls_back_on_it(world: World) -> None:
    await world.publish(ONE, "a")
    world.show(v1="READY")
    await world.publish(ONE, "b")
    await world.revive(1)
    assert world[1].answers(M) == "b"
    await world.withdraw(ONE, "b")
    assert [each.answers(M) for each in world.frontends] == ["a", "a"]


async def test_what_is_said_while_a_successor_is_taking_over_reaches_it_too(world: World) -> None:
    await world.publish(ONE, "a")
    world.show(v1="READY")
    gate = world.gates[1, "a"] = asyncio.Event()
    world[1].die()
    await until(lambda: len(world.lives[1]) == 2 and any(isinstance(act, m.Publish) for act in world[1].told))
    replacing = asyncio.create_task(world.publish(ONE, "b"))
    await until(lambda: "b" in world[2].models)
    withdrawing = asyncio.create_task(world.withdraw(ONE, "a"))
    world.show({"canary": 1}, v1="READY")
    await turns()
    gate.set()
    await asyncio.gather(replacing, withdrawing)
    await world.settled()
    assert [each.answers(Target("m", None, "canary")) for each in world.frontends] == ["b", "b"]
    assert [each.models["a"].closed for each in world.frontends] == [True, True]


async def test_what_a_successor_cannot_reach_it_reaches_later(world: World) -> None:
    await world.publish(ONE, "a")
    await world.publish(TWO, "c")
    world.show(v1="READY", v2="READY")
    world.unreachable.add((1, "c"))
    await world.revive(1)
    assert world[1].answers(Target("m", 1)) == "a"
    with pytest.raises(VersionNotReady):
        world[1].answers(M)
    world.unreachable.clear()
    await until(lambda: "c" in world[1].models)
    await until(lambda: not world.group._background)
    assert world[1].answers(M) == "c"


async def test_what_a_successor_could_not_reach_and_was_replaced_is_reached_when_it_is_needed_again(
    world: World,
) -> None:
    await world.publish(ONE, "a")
    world.show(v1="READY")
    world.unreachable.add((1, "a"))
    await world.revive(1)
    await world.publish(ONE, "b")
    world.unreachable.clear()
    await asyncio.sleep(0.01)
    assert [each.answers(M) for each in world.frontends] == ["b", "b"]
    await world.withdraw(ONE, "b")
    await until(lambda: not world.group._background)
    assert [each.answers(M) for each in world.frontends] == ["a", "a"]


async def test_what_a_successor_could_not_reach_is_forgotten_with_its_deployment(world: World) -> None:
    await world.publish(ONE, "a")
    world.unreachable.add((1, "a"))
    await world.revive(1)
    await world.withdraw(ONE, "a")
    await until(lambda: not world.group._background)
    world.unreachable.clear()
    await turns()
    assert "a" not in world[1].models


async def test_a_call_has_counted_on_every_frontend_when_shown_returns(world: World) -> None:
    await world.publish(ONE, "a")
    await world.publish(TWO, "b")
    world[2].hold(m.Show)
    world.show({"stable": 1}, v1="READY", v2="READY")
    world.show({"stable": 2}, v1="READY", v2="READY")
    showing = asyncio.create_task(world.group.shown())
    await turns(50)
    assert not showing.done()
    world[2].release()
    await showing
    assert [each.answers(M) for each in world.frontends] == ["b", "b"]


async def test_a_dead_frontend_holds_up_no_label(world: World) -> None:
    world[2].hold(m.Show)
    world.show(v1="LOADING")
    showing = asyncio.create_task(world.group.shown())
    await turns()
    world[2].die()
    await showing


async def test_tables_that_did_not_change_are_not_sent_again(world: World) -> None:
    world.show(model="n", v1="READY")
    world.show(v1="LOADING")
    world.show(v1="LOADING")
    await world.group.shown()
    shown = [act for act in world[1].told if isinstance(act, m.Show)]
    assert [(list(act.tables), act.settled) for act in shown] == [(["n"], True), (["m"], True)]
    world.group.show({name: table for name, table in world.group.tables.items() if name != "n"})
    await world.group.shown()
    assert list(world[1].registry.tables) == ["m"]


async def test_an_empty_repository_is_ready_once_it_was_looked_at(world: World) -> None:
    assert not world.group.ready
    assert not world[1].registry.ready
    world.group.show({})
    await world.group.shown()
    await world.group.wait_ready()
    assert world.group.ready
    assert all(each.registry.ready for each in world.frontends)


async def test_a_successor_is_ready_at_once_though_something_loads_just_then(world: World) -> None:
    world.show(v1="LOADING")
    assert not (await world.revive(1)).registry.ready
    world.show(v1="FAILED")
    world.show(v1="FAILED", v2="LOADING")
    assert (await world.revive(1)).registry.ready


async def test_a_dead_frontends_connections_go_to_another_until_it_is_back() -> None:
    async with World(3).running() as world:
        world.mute = True
        world[1].die()
        world[3].die()
        await until(lambda: world[2].ports.accepts == [2, 1, 3])
        world.mute = False
        await until(lambda: all(world[number].is_linked for number in (1, 3)))
        for number in (1, 3):
            world[number].link.tell(m.Hello())
        await world.settled()
        await until(lambda: [each.ports.accepts for each in world.frontends] == [[1], [2], [3]])


async def test_a_frontend_whose_port_is_taken_is_started_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.taken = True
    world[1].die()
    await until(lambda: len(world.lives[1]) == 3)
    world.taken = False
    await world.settled()
    assert "frontend 1 died (grpc_port: cannot listen" in caplog.text


async def test_a_frontend_is_started_again_however_often_it_dies(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(7):
        await world.revive(1)
    assert [each.deaths for each in await world.group.standings()] == [7, 0]
    assert len(world.lives[2]) == 1
    assert "frontend 1 died (killed by SIGKILL); it is started again at once" in caplog.text


async def test_a_frontend_that_cannot_be_started_is_tried_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.unstartable = 2
    await world.revive(1)
    assert "it could not be started: no process left to be had" in caplog.text


async def test_one_that_never_says_hello_is_ended(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slot, "_START_S", 0.01)
    world.mute = True
    world[1].die()
    await until(lambda: len(world.lives[1]) == 3)
    world.mute = False
    monkeypatch.setattr(slot, "_START_S", 60.0)
    await world.settled()
    assert "frontend 1 died (it was not there after 0.01 s" in caplog.text


async def test_one_that_hangs_is_ended_and_control_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(member, "_ANSWER_S", 0.05)
    world[2].hold(m.Show, m.Publish, m.Withdraw)
    world.show(v1="READY")
    await world.group.shown()
    await world.publish(ONE, "a")
    await until(lambda: len(world.lives[2]) == 2)
    await world.settled()
    assert world[2].answers(M) == "a"
    assert "frontend 2 did not answer about tables within 0.05 s; it is ended" in caplog.text


async def test_beats_find_one_that_hangs_while_nothing_else_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot, "_BEAT_S", 0.001)
    monkeypatch.setattr(member, "_ANSWER_S", 0.05)
    await world.revive(1)
    world[1].hold(m.Report)
    await until(lambda: len(world.lives[1]) == 3)


async def test_statistics_of_all_frontends_add_up_and_outlive_them(world: World) -> None:
    await world.publish(ONE, "a")
    world.show(v1="READY")
    await world.group.shown()
    for number in (1, 1, 2):
        request = await world[number].begin()
        world[number].models["a"].finish()
        await request
    assert await counts(world) == {ONE: 3}
    assert [each.requests for each in await world.group.standings()] == [2, 1]
    await world.revive(1)
    assert await counts(world) == {ONE: 3}
    assert [each.requests for each in await world.group.standings()] == [0, 1]
    assert dict(await world[2].models_of_control.statistics()) == dict(await world.group.statistics())


async def test_statistics_go_with_their_deployment_the_dead_frontends_too(world: World) -> None:
    await world.publish(ONE, "a")
    world.show(v1="READY")
    await world.group.shown()
    request = await world[1].begin()
    world[1].models["a"].finish()
    await request
    await counts(world)
    await world.revive(1)
    await world.withdraw(ONE, "a")
    world.group.show({})
    await world.group.shown()
    assert await counts(world) == {}
    await world.publish(ONE, "b")
    assert await counts(world) == {ONE: 0}


async def test_one_that_does_not_report_in_time_is_counted_as_it_last_did(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.frontends.group._REPORT_S", 0.01)
    await world.publish(ONE, "a")
    world.show(v1="READY")
    await world.group.shown()
    request = await world[1].begin()
    world[1].models["a"].finish()
    await request
    await counts(world)
    world[1].hold(m.Report)
    assert await counts(world) == {ONE: 1}
    assert world[1].alive


async def test_requests_that_wait_are_counted_on_all_frontends(world: World) -> None:
    await world.publish(ONE, "a", Limits(max_in_flight=2, max_queue=8))
    world.show(v1="READY")
    await world.group.shown()
    requests = []
    for each in world.frontends:
        requests.append(await each.begin())
        lease = each.registry.lease(M)
        requests += [asyncio.create_task(lease.servable.infer({})) for _ in range(2)]
    await turns()
    load = (await world.group.statistics())[ONE].load
    assert (load.in_flight, load.waiting) == (2, 4)
    await world.revive(1)
    load = (await world.group.statistics())[ONE].load
    assert (load.in_flight, load.waiting) == (1, 2)
    for request in requests:
        request.cancel()


@pytest.mark.parametrize(
    ("whole", "share"), [((256, 1024), (86, 342)), ((1, 0), (1, 0)), ((2, 1), (1, 1)), ((3, 3), (1, 1))]
)
async def test_each_frontend_gets_its_part_of_the_limits(whole: tuple[int, int], share: tuple[int, int]) -> None:
    async with World(3).running() as world:
        limits = Limits(*whole, timeout_ms=7)
        await world.group.publish(ONE, endpoint("a"), Serving(limits, caching=Caching(1000, True), digest="d"))
        world.show(v1="READY")
        await world.group.shown()
        await world.revive(3)
        for each in world.frontends:
            serving = each.registry.lease(M).serving
            assert serving == Serving(Limits(*share, timeout_ms=7), caching=Caching(333, True), digest="d")
        assert world.group.published(M).serving.limits == limits


async def test_what_is_published_last_is_told_and_nothing_that_is_withdrawn(world: World) -> None:
    with pytest.raises(ModelNotFound):
        world.group.published(M)
    world.show(v1="READY")
    with pytest.raises(VersionNotReady):
        world.group.published(M)
    await world.publish(ONE, "a")
    await world.publish(ONE, "b")
    assert world.group.published(M).endpoint.address == "b"
    await world.withdraw(ONE, "b")
    assert world.group.published(M).endpoint.address == "a"


async def test_a_frontend_asks_control_for_what_callers_want_of_models(world: World) -> None:
    models = world[1].models_of_control
    await models.load("m", 2, {"file:1/model.onnx": b"\x00\xff", "config": "{}"})
    await models.load("m")
    await models.unload("m", 1)
    entries = await models.index(True)
    assert [(each.name, each.version, each.state, each.reason) for each in entries] == [
        ("m", "1", Readiness.READY, ""),
        ("n", None, Readiness.UNAVAILABLE, "no version"),
    ]
    assert world.access.asked == [
        ("load", "m", 2, {"file:1/model.onnx": b"\x00\xff", "config": "{}"}),
        ("load", "m", None, None),
        ("unload", "m", 1),
        ("index", True),
    ]


@pytest.mark.parametrize("error", [NotAllowed("not here"), LoadFailed("no model"), ModelNotFound("no such")])
async def test_what_control_refuses_is_refused_in_the_same_words(world: World, error: Exception) -> None:
    world.access.error = error
    with pytest.raises(type(error), match=str(error)):
        await world[1].models_of_control.load("m")


async def test_what_nobody_foresaw_stays_in_controls_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.access.error = RuntimeError("a secret")
    with pytest.raises(PeerFailed) as caught:
        await world[1].models_of_control.load("m")
    assert "secret" not in str(caught.value)
    assert "a secret" in caplog.text


async def test_who_asks_a_control_that_is_gone_is_told_so(world: World) -> None:
    asking = world[1].models_of_control
    await world.group.close()
    with pytest.raises(BackendUnavailable):
        await asking.index()


async def test_a_stop_refuses_drains_and_ends_in_this_order(world: World) -> None:
    world.show(v1="READY")
    await world.group.shown()
    world.group.stop()
    assert not world.group.ready
    await until(lambda: all(not each.registry.ready for each in world.frontends))
    world[1].hold(m.Drain)
    draining = asyncio.create_task(world.group.drain())
    await until(lambda: world[2].ports.drained)
    assert world.closed
    assert [each.ports.accepts for each in world.frontends] == [[], []]
    await turns()
    assert not draining.done()
    world[2].die()
    world[1].release()
    await draining
    assert len(world.lives[2]) == 1, "nobody is started any more"
    await world.group.close()
    assert not any(each.alive for each in world.frontends)


async def test_one_that_was_to_be_tried_again_later_is_not_tried_once_the_gateway_stops(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.revive(1)
    monkeypatch.setattr(Restarts, "FIRST_DELAY_S", 0.05)
    world[1].die()
    await until(lambda: len(world.members()) == 1)
    world.group.stop()
    await until(lambda: any(task.done() for task in world.group._keeping))
    assert len(world.lives[1]) == 2


async def test_one_that_comes_up_during_a_stop_is_sent_away(world: World) -> None:
    world.mute = True
    world[1].die()
    await until(lambda: len(world.lives[1]) == 2)
    world.group.stop()
    world[1].link.tell(m.Hello())
    await until(lambda: not world[1].alive)
    assert world[1].ports.accepts == []
    await world.group.drain()


async def test_a_frontends_log_lines_reach_the_log_with_its_number(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world[2].link.tell(m.Log(30, "gateway.somewhere", "a line", "Traceback\nValueError"))
    world[2].link.tell(m.Log(10, "gateway.somewhere", "too much", ""))
    await until(lambda: "a line" in caplog.text)
    (record,) = [each for each in caplog.records if each.name == "gateway.somewhere"]
    assert (record.getMessage(), record.exc_text) == ("frontend 2: a line", "Traceback\nValueError")
