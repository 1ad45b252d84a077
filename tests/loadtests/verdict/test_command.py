"""The command line of `torii compare`, without a gateway."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from loadtests.verdict import command
from loadtests.verdict.bench import NORMAL
from tests.e2e.gateway import free_port


@pytest.mark.parametrize(
    ("text", "milliseconds"), [("5ms", 5.0), ("0.5s", 500.0), ("250us", 0.25), ("250 µs", 0.25), (".5ms", 0.5)]
)
def test_a_latency_target_has_a_unit(text: str, milliseconds: float) -> None:
    assert command.milliseconds(text) == pytest.approx(milliseconds)


@pytest.mark.parametrize("text", ["5", "fast", "0ms", "-1ms", "5m", "1e3ms", "5ms;"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"--latency-target: expected a time as 5ms or 0\.5s; got"):
        command.milliseconds(text)


def test_shorter_stretches_make_shorter_searches() -> None:
    found = NORMAL.changed(rounds=5, seconds=NORMAL.seconds / 2)
    assert (found.rounds, found.seconds, found.search_s) == (5, NORMAL.seconds / 2, NORMAL.search_s / 2)
    assert NORMAL.changed(None, None) == NORMAL


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["Digits"], "expected MODEL or MODEL/VERSION, as digits/1; got 'Digits'"),
        (["digits/0"], "expected MODEL or MODEL/VERSION"),
        (["../digits"], "expected MODEL or MODEL/VERSION"),
        (["digits", "--dialect", "soap"], "--dialect: expected one of v2-json"),
        (["digits", "--json", "nowhere/at/all.json"], "expected a file in a folder that is there"),
        (["digits", "--html", "."], "expected a file in a folder that is there"),
    ],
)
def test_bad_input_is_told_before_anything_is_measured_and_ends_with_2(argv: Sequence[str], said: str) -> None:
    app = typer.Typer()
    command.register(app)
    url = f"http://127.0.0.1:{free_port()}"
    ended = CliRunner().invoke(app, [*argv, "--url", url, "--control", url])
    assert ended.exit_code == 2
    assert said in " ".join(ended.output.split())
    assert not Path("nowhere").exists()
