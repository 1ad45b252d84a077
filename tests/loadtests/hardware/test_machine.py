"""A machine is told as it is; what cannot be found out is empty, and nothing fails."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from loadtests.hardware.files import Files
from loadtests.hardware.machine import affinity, described, fingerprint, usable_cores
from loadtests.results.schema import Machine
from tests.loadtests.hardware.machines import IN_DOCKER, IN_KUBERNETES, PI_2, PI_5, XEON, files_of
from tests.loadtests.hardware.test_gpu import H100, SUMMARY


def told(folder: Path, texts: dict[str, str], usable: list[int], ask: object = lambda *_: "") -> Machine:
    return described(files_of(folder, texts), ask, {}, usable, {})  # type: ignore[arg-type]


def test_a_virtual_machine_is_told(tmp_path: Path) -> None:
    machine = told(tmp_path, XEON, [0, 1, 2, 3])
    assert machine.name == "Xeon-Platinum-8481C-4c-16GB"
    assert (machine.cores, machine.physical_cores, machine.mhz, machine.governor) == (4, 2, 2699.998, "")
    assert (machine.memory_bytes, machine.system) == (16375456 * 1024, "Ubuntu 24.04.1 LTS")


def test_only_the_processors_that_may_be_used_count(tmp_path: Path) -> None:
    machine = told(tmp_path, XEON, [2, 3])
    assert (machine.cores, machine.physical_cores) == (2, 1)


@pytest.mark.parametrize(("texts", "cores", "gib"), [(IN_DOCKER, 1, 2), (IN_KUBERNETES, 2, 4)])
def test_a_container_has_what_its_limits_leave(tmp_path: Path, texts: dict[str, str], cores: int, gib: int) -> None:
    machine = told(tmp_path, texts, [0, 1, 2, 3])
    assert (machine.cores, machine.memory_bytes) == (cores, gib * 2**30)
    assert machine.name == f"Xeon-Platinum-8481C-{cores}c-{gib}GB"
    assert machine.container.keys() == {"cpu.max", "memory.max", "container", "virtualization"}


def test_a_board_is_named_by_its_model(tmp_path: Path) -> None:
    machine = told(tmp_path / "5", PI_5, [0, 1, 2, 3])
    assert (machine.name, machine.cpu) == ("Raspberry-Pi-5-B-4c-8GB", "Raspberry Pi 5 Model B Rev 1.0 (Cortex-A76)")
    assert (machine.mhz, machine.governor) == (2400.0, "ondemand")
    older = told(tmp_path / "2", PI_2, [0, 1])
    assert (older.name, older.physical_cores, older.flags) == ("Raspberry-Pi-2-B-2c-0.9GB", None, ("neon",))
    assert "deadbeef" not in str(machine)  # its serial number


def test_a_gpu_gives_its_name(tmp_path: Path) -> None:
    def ask(*argv: str) -> str:
        return {"nvidia-smi": SUMMARY if len(argv) == 1 else H100}.get(argv[0], "")

    machine = told(tmp_path, XEON, [0, 1, 2, 3], ask)
    assert machine.name == "H100-4c"
    assert machine.gpus[0]["CUDA"] == "13.0"


def test_of_a_machine_that_tells_nothing_there_is_a_fingerprint(tmp_path: Path) -> None:
    machine = told(tmp_path, {}, [0])
    assert (machine.cores, machine.physical_cores, machine.flags, machine.caches) == (1, None, (), {})
    assert (machine.mhz, machine.governor, machine.gpus, machine.container) == (None, "", (), {})
    assert machine.memory_bytes > 0
    assert machine.name.endswith("GB")


def test_folders_where_files_should_be_do_not_hurt(tmp_path: Path) -> None:
    for path in ("proc/cpuinfo", "proc/meminfo", "proc/self/cgroup", "etc/os-release"):
        (tmp_path / path).mkdir(parents=True)
    assert described(Files(tmp_path), lambda *_: "\0\ufffd", {}, [0], {}).cores == 1


def test_this_machine_has_a_fingerprint_that_a_result_can_hold() -> None:
    machine = fingerprint()
    assert machine.cores == usable_cores() <= len(affinity())
    assert machine.cpu
    assert machine.runtimes["python"]
    assert socket.gethostname() not in machine.name
    assert msgspec.json.decode(msgspec.json.encode(machine), type=Machine) == machine
    assert fingerprint().name == machine.name


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds processes to processors")
def test_a_process_that_is_bound_to_one_core_has_one() -> None:
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from loadtests.hardware.machine import usable_cores; print(usable_cores())"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "1"
