"""A link between two ends in one process: calls both ways, in order, none of which waits for ever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from adapters.errors import BackendUnavailable
from gateway.errors import Overloaded
from gateway.frontends import messages as m
from gateway.frontends.link import Link, LinkLost, PeerFailed
from gateway.protocols.model_repository import IndexEntry, Readiness
from tests.waiting import turns, until


class End:
    """One end, which does what a test says."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.asked: list[m.Act] = []
        self.answer: object = None
        self.hold = asyncio.Event()
        self.hold.set()
        self.serving = asyncio.create_task(link.serve(self._respond))

    async def _respond(self, act: m.Act) -> object:
        self.asked.append(act)
        await self.hold.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
async def ends() -> AsyncIterator[tuple[End, End]]:
    pair = socket.socketpair()
    here, there = [End(await Link.open(each)) for each in pair]
    yield here, there
    for each in (here, there):
        each.link.close()
        await each.serving


async def test_calls_go_both_ways_and_are_answered_when_they_are_done(ends: tuple[End, End]) -> None:
    here, there = ends
    there.answer = [IndexEntry("m", "1", Readiness.READY, "")]
    there.hold.clear()
    slow = here.link.call(m.Index(True), list[IndexEntry])
    here.answer = None
    await there.link.call(m.Unload("m", None))
    assert not slow.done()
    there.hold.set()
    assert await slow == there.answer
    assert (here.asked, there.asked) == ([m.Unload("m", None)], [m.Index(True)])


async def test_calls_are_begun_in_the_order_in_which_they_were_made(ends: tuple[End, End]) -> None:
    here, there = ends
    acts = [m.Unload("m", number) for number in range(100)]
    await asyncio.gather(*(here.link.call(act) for act in acts))
    assert there.asked == acts


async def test_what_is_told_is_not_answered(ends: tuple[End, End]) -> None:
    here, there = ends
    there.answer = RuntimeError("no")
    here.link.tell(m.Hello())
    await until(lambda: there.asked == [m.Hello()])
    await turns()
    assert not here.serving.done()


@pytest.mark.parametrize(
    ("raised", "arrives"),
    [
        (BackendUnavailable("down"), BackendUnavailable("down")),
        (Overloaded("too much", 1.0), PeerFailed("too much")),
        (RuntimeError("secret"), PeerFailed("internal error; the gateway's log says more")),
    ],
)
async def test_errors_arrive_by_their_meaning(ends: tuple[End, End], raised: Exception, arrives: Exception) -> None:
    here, there = ends
    there.answer = raised
    with pytest.raises(type(arrives)) as caught:
        await here.link.call(m.Report())
    assert (type(caught.value), str(caught.value)) == (type(arrives), str(arrives))


async def test_whoever_waits_for_an_end_that_is_gone_is_told_so(ends: tuple[End, End]) -> None:
    here, there = ends
    there.hold.clear()
    waiting = here.link.call(m.Report())
    await until(lambda: there.asked)
    there.link.close()
    with pytest.raises(LinkLost):
        await waiting
    await here.serving
    with pytest.raises(LinkLost):
        await here.link.call(m.Report())
    here.link.tell(m.Hello())


async def test_an_answer_for_whoever_waits_no_longer_is_dropped(ends: tuple[End, End]) -> None:
    here, there = ends
    there.hold.clear()
    waiting = here.link.call(m.Report())
    await until(lambda: there.asked)
    waiting.cancel()
    there.hold.set()
    await here.link.call(m.Unload("m", None))
    assert not here.serving.done()


async def test_a_large_message_arrives_whole(ends: tuple[End, End]) -> None:
    here, there = ends
    content = bytes(range(256)) * 2**14
    await here.link.call(m.Load("m", None, {"file:1/model.onnx": content}))
    assert there.asked == [m.Load("m", None, {"file:1/model.onnx": content})]


@pytest.mark.parametrize("sent", [b"\x00\x00\x00\x01\xc1", b"\x00\x00\x00\x02{}", b"\x00\x00\x00\x04\x93\xa3Ask"])
async def test_what_cannot_be_read_ends_the_link(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    end = End(await Link.open(ours))
    with theirs:
        theirs.sendall(sent)
        await end.serving
        with pytest.raises(LinkLost):
            await end.link.call(m.Report())


async def test_a_message_that_breaks_off_ends_the_link() -> None:
    ours, theirs = socket.socketpair()
    end = End(await Link.open(ours))
    with theirs:
        theirs.sendall(b"\x00\x00\x00\x09half")
    await end.serving
    assert end.asked == []
