from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtests.engine.messages import pack
from loadtests.engine.plan import Level, Plan, Request, Target
from loadtests.generator import Generator, GeneratorFailed
from loadtests.run.marks import marks
from tests.loadtests.run.made import QUIET
from tests.loadtests.scripted import GOOD, always, generate, plan, read_request, serving
from tests.waiting import gone, until

ROOT = Path(__file__).resolve().parents[2]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
SERVED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTorii-Served-By: digits/%d@tflite\r\n\r\nok"


async def test_a_closed_loop_keeps_as_many_requests_under_way_as_it_is_told() -> None:
    under_way = most = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way, most
        while True:
            await read_request(reader)
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.01)
            under_way -= 1
            writer.write(GOOD)

    async with serving(count) as target:
        told = await generate(plan(target, connections=10), 3, lambda told: told.succeeded > 50)

    assert most == 3
    assert told.failures == {}
    assert told.histogram("latency").equals(told.histogram("service"))


async def test_a_level_of_a_closed_loop_may_rise_and_fall() -> None:
    async with serving(always(GOOD)) as target:

        def run() -> list[int]:
            under_way = []
            with Generator(plan(target, connections=8)) as generator:
                slices = generator.slices()
                for level in (2, 8, 1, 0):
                    generator.level(level)
                    while (each := next(slices)).level != level or each.under_way > level:
                        pass
                    under_way.append(each.under_way)
                generator.end()
                list(slices)
            return under_way

        assert await asyncio.to_thread(run) == [2, 8, 1, 0]


@pytest.mark.parametrize("arrival", ["poisson", "uniform"])
async def test_an_open_loop_sends_at_its_rate(arrival: str) -> None:
    async with serving(always(GOOD)) as target:
        made = plan(target, arrival=arrival, connections=50)
        told = await generate(made, 200, lambda told: told.slices[-1].end_s > 3)

    rate = told.sent / told.slices[-1].end_s
    assert rate == pytest.approx(200, rel=0.25)
    assert told.failures == {}


async def test_requests_are_taken_in_turn() -> None:
    bodies: list[bytes] = []

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            bodies.append(await read_request(reader))
            writer.write(GOOD)

    async with serving(collect) as target:
        made = Plan(target, tuple(Request("/", body) for body in (b"one", b"two", b"three")), slice_s=0.05)
        await generate(made, 1, lambda told: told.succeeded > 6)

    assert bodies[:6] == [b"one", b"two", b"three"] * 2


async def test_an_open_loop_counts_the_wait_for_a_stalled_server_and_a_closed_one_does_not() -> None:
    async def late(arrival: str, level: float) -> int:
        """How many requests took longer than half of a stall of half a second."""
        async with serving(always(GOOD)) as target:
            stall = asyncio.get_running_loop().call_later(1.0, time.sleep, 0.5)  # the server does nothing meanwhile
            made = plan(target, arrival=arrival, connections=20)
            told = await generate(made, level, lambda told: told.slices[-1].end_s > 2)
            assert stall.when() < asyncio.get_running_loop().time()
        histogram = told.histogram()
        return sum(
            histogram.get_count_at_value(item.value_iterated_to)
            for item in histogram.get_recorded_iterator()
            if item.value_iterated_to > 240_000
        )

    of_open, of_closed = await late("uniform", 100), await late("closed", 1)

    assert of_open >= 24  # all that was due in the first half of the stall, a hundred a second
    assert of_closed < of_open / 4


async def test_slices_are_told_while_a_server_says_nothing() -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with serving(silent) as target:
        made = plan(target, arrival="uniform", connections=2, timeout_s=1.0)
        told = await generate(made, 50, lambda told: told.failures["timeout"] > 3)

    assert sum(not each.sent and not each.failures for each in told.slices) > 3
    assert max(each.waiting for each in told.slices) > 5
    assert max(each.under_way for each in told.slices) == 2
    assert set(told.failures) == {"timeout"}
    assert "within 1 s" in told.first_failure


async def test_who_does_not_answer_is_asked_again_over_another_connection() -> None:
    connections = 0

    async def first_is_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            await reader.read(-1)
        await always(GOOD)(reader, writer)

    async with serving(first_is_silent) as target:
        told = await generate(plan(target, timeout_s=0.3), 1, lambda told: told.succeeded > 3)

    assert told.failures == {"timeout": 1}
    assert connections == 2


@pytest.mark.parametrize("arrival", ["closed", "poisson"])
async def test_where_nobody_listens_every_request_fails_and_the_generator_goes_on(arrival: str) -> None:
    async with serving(always(GOOD)) as target:
        pass  # a port that nothing listens on any more
    told = await generate(
        plan(target, arrival=arrival, connections=4), 20, lambda told: told.failures["connection"] > 10
    )

    assert told.succeeded == 0
    assert "no connection" in told.first_failure


async def test_no_slice_is_half_under_load() -> None:
    async with serving(always(GOOD)) as target:
        told = await generate(plan(target, slice_s=0.2), 1, lambda told: told.succeeded > 5)

    loaded = [each for each in told.slices if each.level > 0]
    assert [each.sent for each in told.slices if each.level == 0] == [0] * (len(told.slices) - len(loaded))
    assert len(loaded) < len(told.slices)  # what came before the first level, and after the end


async def test_a_server_that_comes_back_is_used_again() -> None:
    async with serving(always(GOOD)) as target:
        pass
    returned = asyncio.Event()

    async def come_back() -> None:
        await returned.wait()
        async with serving(always(GOOD), target.port):
            await asyncio.sleep(30)

    serving_again = asyncio.create_task(come_back())
    loop = asyncio.get_running_loop()

    def enough(told: object) -> bool:
        if told.failures:  # type: ignore[attr-defined]
            loop.call_soon_threadsafe(returned.set)
        return told.succeeded > 5  # type: ignore[attr-defined]

    told = await generate(plan(target, connections=2), 2, enough)
    serving_again.cancel()

    assert told.failures["connection"] >= 1


@pytest.mark.parametrize("arrival", ["closed", "poisson"])
async def test_a_server_that_closes_after_each_answer_costs_connections_and_no_request(arrival: str) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    async with serving(once) as target:
        told = await generate(plan(target, arrival=arrival, connections=3), 30, lambda told: told.succeeded > 20)

    assert told.failures == {}
    assert sum(each.reopened for each in told.slices) >= 20


async def test_an_idle_connection_that_the_server_closes_is_opened_anew_and_no_failure() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(GOOD)
        await writer.drain()
        writer.close()

    async with serving(once) as target:
        made = plan(target, arrival="uniform", connections=1)
        told = await generate(made, 10, lambda told: told.succeeded > 5)

    assert told.failures == {}
    assert sum(each.reopened for each in told.slices) >= 5


async def test_a_connection_that_ends_without_an_answer_is_a_failure() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.transport.abort()

    async with serving(hang_up) as target:
        told = await generate(plan(target, connections=2), 2, lambda told: told.failures["connection"] > 3)

    assert told.succeeded == 0


async def test_refusals_are_counted_by_their_status_with_the_first_ones_text() -> None:
    refused = b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ncome back"
    async with serving(always(refused, GOOD)) as target:
        told = await generate(plan(target), 1, lambda told: told.succeeded > 3)

    assert set(told.failures) == {"status 503"}
    assert told.first_failure == "come back"


async def test_answers_are_told_apart_by_who_gave_them() -> None:
    async with serving(always(SERVED % 1, SERVED % 2)) as target:
        told = await generate(plan(target), 1, lambda told: told.succeeded > 10)

    named = {name for each in told.slices for name in each.answers}
    assert named == {"digits/1@tflite", "digits/2@tflite"}


async def test_an_answer_of_another_deployment_than_the_expected_one_is_a_failure() -> None:
    async with serving(always(SERVED % 1, SERVED % 2, GOOD)) as target:
        made = plan(target, served_by="digits/1@tflite")
        told = await generate(made, 1, lambda told: told.succeeded > 3)

    assert set(told.failures) == {"served by digits/2@tflite", "served by nobody said"}


async def test_at_the_end_what_is_under_way_gets_its_answer() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await asyncio.sleep(0.4)
            writer.write(GOOD)

    async with serving(slow) as target:
        told = await generate(plan(target, connections=4), 4, lambda told: told.slices[-1].under_way == 4)

    assert (told.sent, told.succeeded) == (4, 4)


async def test_the_end_comes_within_the_timeout_where_no_answer_comes() -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with serving(silent) as target:
        made = plan(target, connections=2, timeout_s=0.5)
        told = await generate(made, 2, lambda told: told.slices[-1].under_way == 2)

    assert told.failures == {"timeout": 2}


async def test_a_generator_ends_with_who_started_it() -> None:
    async with serving(always(GOOD)) as target:
        script = (
            "import os, sys\n"
            "from loadtests.generator import Generator\n"
            "from tests.loadtests.scripted import plan, Target\n"
            f"generator = Generator(plan(Target('127.0.0.1', {target.port}, 'http/1.1')))\n"
            "generator.level(1)\n"
            "next(generator.slices())\n"
            "print(generator.pid, flush=True)\n"
            "sys.stdin.read()\n"
        )
        argv = [sys.executable, "-c", script]
        with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:  # noqa: ASYNC220
            assert parent.stdout is not None
            pid = int(await asyncio.to_thread(parent.stdout.readline))
            assert not gone(pid)
            parent.kill()

        await until(lambda: gone(pid))


async def test_a_generator_that_dies_is_said_to_have_failed() -> None:
    def run() -> None:
        with Generator(plan(Target("127.0.0.1", 9, "http/1.1"))) as generator:
            os.kill(generator.pid, signal.SIGKILL)
            with pytest.raises(GeneratorFailed, match="status -9"):
                list(generator.slices())
            with pytest.raises(GeneratorFailed):  # noqa: PT012  # the pipe may take the first without a word
                for _ in range(2):
                    generator.level(1)

    await asyncio.to_thread(run)


async def test_what_a_generator_cannot_do_is_told_in_its_own_words() -> None:
    def run() -> None:
        with (
            Generator(plan(Target("127.0.0.1", 9, "http/1.1"), core=100_000)) as generator,
            pytest.raises(GeneratorFailed, match="OSError"),
        ):
            list(generator.slices())

    await asyncio.to_thread(run)


async def test_a_rate_beyond_the_generator_is_told_to_be_its_limit() -> None:
    async with serving(always(GOOD)) as target:
        made = plan(target, arrival="poisson", connections=8)
        told = await generate(made, 1e6, lambda told: told.slices[-1].end_s > 1)

    (mark,) = marks(told.slices, QUIET)  # type: ignore[arg-type]  # what a result keeps has the same names
    assert mark.startswith("the generator was the limit")


async def test_a_rate_far_below_its_limit_is_not() -> None:
    async with serving(always(GOOD)) as target:
        told = await generate(plan(target, arrival="poisson"), 20, lambda told: told.slices[-1].end_s > 1)

    assert statistics.median(each.late_us for each in told.slices) < 20_000


@pytest.mark.parametrize("level", [-1, float("nan"), float("inf")])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    with (
        Generator(plan(Target("127.0.0.1", 9, "http/1.1"))) as generator,
        pytest.raises(ValueError, match="level: expected a number, 0 or more"),
    ):
        generator.level(level)


async def test_a_slow_trickle_is_an_answer_once_it_is_whole_and_a_timeout_where_that_takes_too_long() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for pause_s in (0.002, 0.1):
            await read_request(reader)
            for byte in b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED:
                writer.write(bytes([byte]))
                await asyncio.sleep(pause_s)

    async with serving(trickle) as target:
        made = plan(target, timeout_s=1.0)
        told = await generate(made, 1, lambda told: told.succeeded and told.failures)

    assert set(told.failures) == {"timeout"}


async def test_garbage_is_a_failure_that_says_what_it_was() -> None:
    async with serving(always(b"220 mail.example ESMTP\r\n\r\n")) as target:
        told = await generate(plan(target, connections=2), 2, lambda told: told.failures["connection"] > 3)

    assert told.succeeded == 0
    assert "no answer of HTTP/1.1" in told.first_failure


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"requests": ()}, "requests"), ({"connections": 0}, "connections"), ({"timeout_s": 0}, "timeout_s")],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(changed: dict[str, object], field: str) -> None:
    settings = {"target": Target("127.0.0.1", 9, "http/1.1"), "requests": (Request("/", b""),), **changed}
    with pytest.raises(ValueError, match=rf"plan\.{field}"):
        Generator(Plan(**settings))  # type: ignore[arg-type]


async def test_orders_after_the_end_change_nothing() -> None:
    async with serving(always(GOOD)) as target:

        def run() -> int:
            with Generator(plan(target, slice_s=0.05)) as generator:
                generator.level(1)
                slices = generator.slices()
                next(slices)
                generator.end()
                with contextlib.suppress(GeneratorFailed):
                    generator.level(5)
                return len(list(slices))

        assert await asyncio.to_thread(run) >= 1


def test_messages_come_out_of_any_pieces() -> None:
    from loadtests.engine.messages import Unpacker
    from loadtests.engine.plan import Command, End

    packed = pack(Level(3.5)) + pack(End()) + pack(Level(0))
    unpacker: Unpacker[Command] = Unpacker(Command)
    unpacked = [each for at in range(len(packed)) for each in unpacker.feed(packed[at : at + 1])]

    assert unpacked == [Level(3.5), End(), Level(0)]
