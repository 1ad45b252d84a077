"""`machine` shows what results will say of this machine."""

from __future__ import annotations

import msgspec
import typer
from typer.testing import CliRunner

from loadtests.hardware.command import lines, register
from loadtests.hardware.machine import fingerprint
from loadtests.results.schema import Machine


def app() -> typer.Typer:
    made = typer.Typer()
    made.callback()(lambda: None)
    register(made)
    return made


def test_the_machine_is_shown_with_what_can_be_measured_on_it() -> None:
    shown = CliRunner().invoke(app(), ["machine"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert fingerprint().name in shown.output
    assert "CPU, 1 thread, XNNPACK off" in shown.output


def test_as_json_it_is_what_a_result_file_has() -> None:
    shown = CliRunner().invoke(app(), ["machine", "--json"])
    assert msgspec.json.decode(shown.output, type=Machine).name == fingerprint().name


def test_a_gpu_is_a_line_and_what_is_unknown_is_none() -> None:
    gpu = {"name": "NVIDIA H100", "memory": "81559 MiB"}
    machine = msgspec.structs.replace(fingerprint(), gpus=(gpu,), mhz=None, physical_cores=None, cores=3)
    told = dict(lines(machine))
    assert (told["GPU"], told["clock"], told["cores"]) == ("NVIDIA H100, memory 81559 MiB", "", "3 usable")
