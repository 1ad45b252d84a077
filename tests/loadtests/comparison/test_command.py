from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from msgspec.structs import replace
from typer.testing import CliRunner

from loadtests.comparison import command
from loadtests.results.files import write
from loadtests.results.schema import Result, Row
from tests.loadtests.invented import made_machine, made_result, made_row, rows_in_turns

ROOT = Path(__file__).parents[3]
TFLITE, ONNX = "digits/1@tflite", "digits/1@onnxruntime"
FEW = ("--metric", "p50")


def asked(*arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `compare`."""
    app = typer.Typer()
    command.register(app)
    found = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "80"})
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.stdout, found.stderr


@pytest.fixture(scope="module")
def rows() -> dict[str, list[Row]]:
    """Five rounds of rows with known medians."""
    return {
        "before": rows_in_turns({TFLITE: 800}, rounds=5, answers=150),
        "same": rows_in_turns({TFLITE: 800}, rounds=5, answers=150),
        "slower": rows_in_turns({TFLITE: 1600}, rounds=5, seed=3, answers=150),
        "one round": rows_in_turns({TFLITE: 820}, rounds=1, seed=4, slices=3, answers=20),
    }


@pytest.fixture
def file(tmp_path: Path, rows: dict[str, list[Row]]) -> Callable[..., Path]:
    """A result file with these rows and changes."""

    def made(name: str, of: Sequence[Row] | None = None, /, **changes: Any) -> Path:
        result: Result = made_result(rows.get(name, rows["before"]) if of is None else of, **changes)
        return write(result, tmp_path / name.replace(" ", "-")).rename(tmp_path / f"{name.replace(' ', '-')}.json")

    return made


@pytest.mark.parametrize(
    ("ours", "theirs", "options", "status", "said"),
    [
        ("slower", "before", (), 1, "worse by more than the limit"),
        ("before", "slower", (), 0, ""),
        ("same", "before", (), 0, ""),
        ("one round", "before", (), 0, "1 of 1 undecided.*--rounds 10.*fails with --strict only"),
        ("one round", "before", ("--strict",), 1, "1 of 1 undecided.*--rounds 10"),
    ],
)
def test_the_gate_fails_for_what_is_worse_and_says_what_is_undecided(  # one case each
    file: Callable[..., Path], ours: str, theirs: str, options: tuple[str, ...], status: int, said: str
) -> None:
    limit = "50%" if ours == "same" else "5%"

    found, _, told = asked(file(theirs), file(ours), "--fail-over", limit, *FEW, *options)

    assert found == status, told
    assert bool(told) == bool(said)
    assert not said or re.search(said, told)


def test_without_a_gate_slower_is_said_and_no_failure(file: Callable[..., Path]) -> None:
    status, told, _ = asked(file("before"), file("slower"), *FEW, "--json")

    (answer,) = json.loads(told)["answers"]
    assert (status, answer["says"]) == (0, "slower")
    assert answer["together"]["low"] < 2.0 < answer["together"]["high"]
    assert answer["together"]["low"] > 1.5


def test_three_results_are_compared_with_the_one_that_is_named(file: Callable[..., Path]) -> None:
    files = [file(name) for name in ("before", "slower", "same")]

    _, told, _ = asked(*files, "--baseline", files[1], "--json", *FEW)

    found = {each["ours"]["file"]: each["says"] for each in json.loads(told)["answers"]}
    assert found == {"before.json": "faster", "same.json": "faster"}


def test_rows_of_one_result_are_compared_in_turns(tmp_path: Path) -> None:
    both = made_result(rows_in_turns({TFLITE: 800, ONNX: 500}, rounds=5, answers=150))

    _, told, _ = asked("--rows", write(both, tmp_path), "--json", *FEW)

    (answer,) = json.loads(told)["answers"]
    assert (answer["says"], answer["in_turns"]) == ("faster", True)
    assert answer["differs"] == [f"deployment: {TFLITE} → {ONNX}"]


def test_different_things_are_not_compared_and_the_difference_is_named(file: Callable[..., Path]) -> None:
    status, told, why = asked(file("before"), file("same", models={"digits/1": {"model.tflite": "f" * 64}}))

    assert (status, told) == (2, "")
    assert re.search("different models: model.tflite of digits/1 has SHA-256 f", why)


def really_asked(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m loadtests compare`, as `torii loadtest compare` starts it."""
    return subprocess.run(
        [sys.executable, "-m", "loadtests", "compare", *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_real_command_compares_results_of_two_machines_and_fails_where_one_is_slower(
    tmp_path: Path, rows: dict[str, list[Row]]
) -> None:
    for machine, name in (("EPYC-2c-8GB", "before"), ("ARM-4c-4GB", "slower")):
        result = made_result(rows[name], machine=made_machine(machine))
        write(result, tmp_path / machine).rename(tmp_path / machine / "frameworks.json")
    files = ("EPYC-2c-8GB/frameworks.json", "ARM-4c-4GB/frameworks.json")

    found = really_asked(tmp_path, *files, "--fail-over", "5%")

    assert found.returncode == 1, found.stderr
    assert "machine: EPYC-2c-8GB → ARM-4c-4GB" in found.stdout
    assert re.search(
        r"worse by more than the limit: .*\(ARM-4c-4GB/frameworks.json\): p50: slower, \+\d+", found.stderr
    )


def test_the_real_command_refuses_what_is_no_result(tmp_path: Path) -> None:
    whole = write(made_result([made_row()]), tmp_path)
    cut_off = tmp_path / "cut-off.json"
    cut_off.write_bytes(whole.read_bytes()[:500])

    found = really_asked(tmp_path, whole.name, cut_off.name, "--fail-over", "5%")

    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == "compare: cut-off.json is cut off after 500 bytes; copy it again, or run again\n"


def test_a_busy_machine_is_said_once(file: Callable[..., Path], rows: dict[str, list[Row]]) -> None:
    runs = tuple(replace(run, marks=("busy machine: 40 % steal",)) for run in rows["same"][0].runs)
    busy = file("same", [replace(rows["same"][0], runs=runs)], marks=("busy machine: 40 % steal (5 of 5 stretches)",))

    _, told, _ = asked(file("before"), busy, *FEW)

    assert told.count("busy machine") == 1


def test_a_row_that_was_measured_and_now_fails_fails_the_gate(
    file: Callable[..., Path], rows: dict[str, list[Row]]
) -> None:
    both = [rows["before"][0], made_row(ONNX, rows["before"][0].runs)]
    gone = [rows["before"][0], made_row(ONNX, status="failed", why="no answer was right")]

    status, _, told = asked(file("before", both), file("same", gone), "--fail-over", "50%", *FEW)

    assert status == 1
    assert f"measured before, and not now: {ONNX}" in told


def test_tables_fit_80_columns_and_have_no_bounds_that_mean_nothing(file: Callable[..., Path]) -> None:
    _, told, _ = asked(file("before"), file("one round"))

    assert "one round" in told
    assert "--rounds 5" in told
    assert "e+" not in told


def test_names_of_anybody_are_no_control_characters_and_no_markup(
    file: Callable[..., Path], rows: dict[str, list[Row]]
) -> None:
    evil = [replace(rows["same"][0], hardware="\x1b[31mred @torvalds <b>")]

    for options in ((), ("--markdown",)):
        _, told, _ = asked(file("before"), file("same", evil), *FEW, *options)
        assert "\x1b" not in told
    assert "<b>" not in told.replace("\\<b\\>", "")
    assert "@torvalds" not in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fail-over", "lots"), "--fail-over: expected a share below 100 %"),
        (("--margin", "300%"), "--margin: expected"),
        (("--metric", "p100"), "expected p50, p99"),
        (("--strict",), "give --fail-over 5% as well"),
        (("--rows",), "--rows compares the rows of one result"),
        (("--baseline", "other.json"), "expected one of the files"),
    ],
)
def test_options_that_make_no_sense_are_refused(file: Callable[..., Path], arguments: Any, said: str) -> None:
    status, _, told = asked(file("before"), file("same"), *arguments)

    assert status == 2
    assert said in told
