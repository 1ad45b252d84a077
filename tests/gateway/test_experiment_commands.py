"""`torii experiment` over a socket, against the control API's own routes: what people type, read, and do wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from gateway import cli
from gateway.control.errors import add_errors
from gateway.control.experiments import add_experiments
from gateway.experiments.definition import Better, Kind, Metric, Policy, Ramp, Shadow
from gateway.httpserver import HttpServer
from gateway.ports import listen, url
from gateway.types import Target
from tests.gateway.experiment_desk import FakeDesk

NAME = "digits/x"
TWO = ("--variant", "tf=digits/1@tfserving:50", "--variant", "onnx=digits/1@onnxruntime:50")


def torii(*words: str) -> tuple[int, str]:
    """Run `torii experiment …`: its exit code and what it said, in one line."""
    done = CliRunner().invoke(cli.app, ["experiment", *words], env={"COLUMNS": "200", "NO_COLOR": "1"})
    return done.exit_code, " ".join(done.output.split())


class Shell:
    """The command, and a desk behind a control port."""

    def __init__(self, control: str) -> None:
        self.desk = FakeDesk()
        self.control = control

    async def ask(self, *words: str) -> tuple[int, str]:
        """Run `torii experiment …`: its exit code and what it said, in one line."""
        code, said = await self.lines(*words)
        return code, " ".join(said.split())

    async def lines(self, *words: str) -> tuple[int, str]:
        argv = ["experiment", *words, "--control", self.control]
        done = await asyncio.to_thread(CliRunner().invoke, cli.app, argv, env={"COLUMNS": "200", "NO_COLOR": "1"})
        return done.exit_code, done.output

    async def made(self, *words: str) -> None:
        code, said = await self.ask("create", NAME, *TWO, *words)
        assert code == 0, said


@pytest.fixture
async def shell() -> AsyncIterator[Shell]:
    socket = listen("127.0.0.1", 0, "control_port")
    shell, app = Shell(url(socket)), FastAPI()
    add_experiments(app, shell.desk)
    add_errors(app)
    server = HttpServer(app, drain_timeout_s=5)
    serving = await server.start()
    await server.accept({1: socket})
    yield shell
    await server.stop()
    await serving
    socket.close()


async def test_an_experiment_is_made_from_flags_and_started(shell: Shell) -> None:
    code, said = await shell.ask(
        "create", NAME, *TWO, "--metric", "correct:binary:higher:0.02", "--metric", "wait:quantile:lower",
        "--control-variant", "onnx", "--unit", "cookie:Session", "--description", "which?", "--owner", "us",
        "--ramp", "1,5,25", "--shadow", "digits/2:10", "--key", "guardrails.p99_ratio=2.0", "--start",
    )  # fmt: skip
    assert (code, said) == (
        0,
        "created digits/x: draft, tf 50 %, onnx 50 % started digits/x: running, tf 50 %, onnx 50 %",
    )
    made = shell.desk.definition("digits", "x")
    assert (made.control, made.units, made.description, made.owner) == ("onnx", ("cookie:Session",), "which?", "us")
    assert made.metrics[2:] == (
        Metric("correct", Kind.BINARY, Better.HIGHER, 0.02),
        Metric("wait", Kind.QUANTILE, Better.LOWER, 0.05),
    )
    assert (made.ramp, made.shadow) == (Ramp((1, 5, 25), 600, 1000), Shadow(Target("digits", 2), 10))
    assert made.guardrails.p99_ratio == 2
    (create, who), (start, again) = shell.desk.asked
    assert (create, start) == ("create", "start")
    assert who == again
    assert who.endswith(" by command line")


async def test_a_draft_says_how_it_is_started_and_variants_without_weights_are_equal(shell: Shell) -> None:
    code, said = await shell.ask("create", NAME, "--variant", "a=digits/1", "--variant", "b=canary@tflite",
                                 "--policy", "thompson:errors")  # fmt: skip
    assert (code, said) == (
        0,
        "created digits/x: draft, a 50 %, b 50 % it is a draft: torii experiment start digits/x",
    )
    assert shell.desk.definition("digits", "x").policy == Policy("thompson", "errors")


@pytest.mark.parametrize("suffix", ["toml", "json"])
async def test_an_experiment_is_made_from_a_file_over_which_flags_win(
    shell: Shell, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"x.{suffix}"
    file.write_text(
        'owner = "us"\nstart = 2026-12-01T09:00:00Z\n[variants.a]\ntarget = "digits/1"\nweight = 30\n'
        '[variants.b]\ntarget = "digits/2"\nweight = 70'
        if suffix == "toml"
        else '{"owner": "us", "start": "2026-12-01T09:00:00Z", "variants": {"a": {"target": "digits/1", "weight": 30},'
        ' "b": {"target": "digits/2", "weight": 70}}}'
    )
    code, said = await shell.ask("create", NAME, "--file", str(file), "--owner", "them", "--key", "confidence=0.9")
    assert (code, said.split(" it is")[0]) == (0, "created digits/x: draft, a 30 %, b 70 %")
    made = shell.desk.definition("digits", "x")
    assert (made.owner, made.confidence, str(made.start)) == ("them", 0.9, "2026-12-01 09:00:00+00:00")


async def test_weights_switches_and_any_key_are_changed(shell: Shell) -> None:
    await shell.made("--ramp", "1,5")
    code, said = await shell.ask(
        "set", NAME, "tf=90", "onnx=10", "--overrides", "--no-promote", "--drop", "ramp",
        "--key", "guardrails.p99_ms=50", "--key", "description='why [not]'",
    )  # fmt: skip
    assert (code, said) == (0, "changed digits/x: draft, tf 90 %, onnx 10 %")
    changes: dict[str, Any] = {
        "guardrails": {"p99_ms": 50},
        "description": "why [not]",
        "ramp": None,
        "weights": {"tf": 90, "onnx": 10},
        "overrides": True,
        "promote": False,
    }
    assert shell.desk.asked[-1][:2] == ("set", changes)


async def test_it_is_stopped_promoted_and_removed(shell: Shell) -> None:
    await shell.made()
    assert (await shell.ask("stop", NAME, "--reason", "the sale"))[1].startswith("stopped digits/x: stopped")
    assert (await shell.ask("promote", NAME, "onnx"))[0] == 0
    assert await shell.ask("remove", NAME) == (0, "digits/x is removed")
    assert [each[:-1] for each in shell.desk.asked[1:]] == [("stop", "the sale"), ("promote", "onnx"), ("remove",)]
    assert shell.desk.files == {}


async def test_a_status_shows_traffic_metrics_problems_and_the_verdict(shell: Shell) -> None:
    await shell.made("--description", "which [one]?", "--start")
    code, said = await shell.lines("status", NAME)
    assert code == 0
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    assert lines[0] == "digits/x running, control tf"
    assert lines[1] == "which [one]?"
    assert "tf digits/1 100 % (of 50) 90.0 % 900 7 1.25 2.5 3.75" in lines
    assert "onnx digits/1 99 % (of 50) 90.0 % 900 7 0.5 2 9" in lines
    assert "latency_ms tf 500 2.5 (2.4 to 2.6) control" in lines
    assert "latency_ms onnx 500 2 (1.9 to –) -0.5 (-0.7 to -0.3) 0.002 better" in lines
    assert "sample ratio mismatch (p 0.0001): tf 900, onnx 100. look at [the] filter" in lines
    shadow = "200 compared, 3 disagreed (1.50 %), 1 failed, 4 skipped, largest difference 0.25"
    assert f"shadow digits/2: {shadow}" in lines
    assert lines[-2:] == ["problem onnx is [not] ready", "verdict: onnx is better than tf"]


async def test_a_status_before_anything_was_measured_says_so(shell: Shell) -> None:
    await shell.made()
    shell.desk.analysis = None
    code, said = await shell.ask("status", NAME)
    assert (code, said.rpartition("verdict: ")[2]) == (0, "nothing was measured yet")


async def test_every_answer_is_there_as_json(shell: Shell) -> None:
    await shell.made()
    for words, key in ((("status", NAME), "analysis"), (("list",), "experiments"), (("events",), "events")):
        code, said = await shell.lines(*words, "--json")
        assert code == 0
        assert json.loads(said)[key]


async def test_experiments_are_listed_with_the_mistakes_in_their_files(shell: Shell) -> None:
    assert await shell.ask("list") == (0, "no experiments; torii experiment create --help says how to make one")
    await shell.made("--description", "a [b] c", "--start")
    code, said = await shell.ask("list", "digits")
    assert code == 0
    assert "digits/x running 0 tf 50 %, onnx 50 % a [b] c" in said
    shell.desk.mistakes = ["digits/experiments/y.toml: variants: [none]"]
    code, said = await shell.ask("list", "other")
    assert (code, said.partition("problem ")[2]) == (2, "digits/experiments/y.toml: variants: [none]")
    assert (await shell.lines("list", "--json"))[0] == 2


async def test_events_show_who_changed_what(shell: Shell) -> None:
    code, said = await shell.ask("events", NAME, "--limit", "5")
    assert code == 0
    assert "2026-12-01 09:05:00 alice set digits/x variants.tf.weight 50 → 90; run – → 1 (because [bold])" in said
    await shell.ask("events", "digits")
    await shell.ask("events")
    assert shell.desk.asked == [
        ("events", "digits", "x", 5),
        ("events", "digits", None, 100),
        ("events", None, None, 100),
    ]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("start", "x"), "x: expected MODEL/NAME, as digits/onnx-or-tf; torii experiment list says what there is"),
        (("start", "a/b/c"), "a/b/c: expected MODEL/NAME"),
        (("create", NAME), "expected variants: two --variant NAME=TARGET:PERCENT at least, or --file"),
        (("create", NAME, "--variant", "a"), "--variant a: expected NAME=TARGET:PERCENT, as tf=digits/1@tfserving:50"),
        (("create", NAME, "--variant", "a=x:1.1.1"), "--variant: expected a number, got '1.1.1'"),
        (("create", NAME, "--variant", "a=b", "--variant", "a=c"), "each name once"),
        (("create", NAME, *TWO, "--metric", "m"), "--metric m: expected NAME:KIND[:lower|higher[:MARGIN]]"),
        (("create", NAME, *TWO, "--ramp", "1,x"), "--ramp: expected a number, got 'x'"),
        (("create", NAME, *TWO, "--policy", "exp3"), "--policy exp3: expected thompson:METRIC or exp3:METRIC"),
        (("create", NAME, *TWO, "--key", "a"), "--key a: expected KEY=VALUE as in the file"),
        (("create", NAME, *TWO, "--key", "confidence=nan"), "--key confidence=nan: expected KEY=VALUE"),
        (("create", NAME, "--file", "/no/such.toml"), "/no/such.toml: [Errno 2] No such file"),
        (("set", NAME), "expected something to change: VARIANT=PERCENT for each variant, --key KEY=VALUE"),
        (("set", NAME, "tf"), "tf: expected VARIANT=PERCENT, as tf=90, each variant once"),
        (("set", NAME, "tf=x"), "tf=x: expected a number, got 'x'"),
        (("set", NAME, "tf=nan"), "tf=nan: expected a number, got 'nan'"),
        (("plan", "--effect", "0.1"), "expected what control does: --rate, or --mean with --deviation, or --p50 with"),
        (("plan", "--effect", "0.1", "--mean", "1"), "expected what control does: --rate"),
        (("plan", "--effect", "0.1", "--rate", "0.99"), "a rate is in 0..1"),
        (("plan", "--effect", "nan", "--rate", "0.9"), "--effect: expected a difference from"),
        (("plan", "--effect", "1", "--p50", "5", "--p95", "4"), "--p50, --p95: 0 < median < p95 is needed"),
        (("plan", "--effect", "1", "--mean", "inf", "--deviation", "4"), "expected numbers of at most 1e+09"),
        (("plan", "--effect", "0.1", "--rate", "0.5", "--share", "1e-300"), "no number of values finds that effect"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_before_anybody_is_asked(words: tuple[str, ...], text: str) -> None:
    code, said = torii(*words)
    assert (code, said[:7]) == (1, "error: "), said
    assert text in said


async def test_a_refusal_is_told_as_the_gateway_says_it(shell: Shell) -> None:
    await shell.made()
    assert await shell.ask("status", "digits/y") == (1, "error: 404 model 'digits' has no experiment 'y'")
    assert await shell.ask("create", NAME, *TWO) == (1, "error: 409 experiment 'x' is there already")
    text = "error: 400 x: variants: expected weights that sum to 100, found 140 (tf 90, onnx 50)"
    assert await shell.ask("set", NAME, "tf=90") == (1, text)


def test_a_gateway_that_does_not_answer_is_named_and_how_to_name_another() -> None:
    code, said = torii("list", "--control", "http://127.0.0.1:1")
    assert code == 1
    assert "the control API does not answer at http://127.0.0.1:1/v1/experiments" in said
    assert "Is `torii serve` running? --control says where." in said


def test_a_plan_says_how_many_values_and_how_long() -> None:
    code, said = torii("plan", "--rate", "0.9", "--effect", "0.05", "--json")
    found = json.loads(said)
    assert (code, found["variant"] + found["control"]) == (0, found["total"])
    code, said = torii("plan", "--rate", "0.9", "--effect", "0.05", "--per-s", str(found["total"] / 7200))
    assert said.startswith(f"{found['total']} values find it: {found['variant']} of the variant, {found['control']} of")
    assert "values per second that takes 2 hours" in said
    for words in (("--mean", "3", "--deviation", "1"), ("--p50", "12", "--p95", "30")):
        assert torii("plan", *words, "--effect", "-0.1")[0] == 0


@pytest.mark.parametrize(
    "command", ["create", "start", "set", "stop", "promote", "status", "list", "remove", "events", "plan"]
)
def test_every_command_has_examples(command: str) -> None:
    code, said = torii(command, "--help")
    assert code == 0
    assert f"torii experiment {command}" in said.partition("Example")[2]
