"""What /proc/cpuinfo and /sys say of processors is read right, on x86 and on ARM, and nothing of it is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.hardware import cpu
from tests.loadtests.hardware.machines import BIG_LITTLE, GRAVITON_3, PI_2, PI_5, XEON, files_of


@pytest.mark.parametrize(
    ("machine", "model"),
    [
        (XEON, "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz"),
        (PI_5, "Cortex-A76"),
        (PI_2, "ARMv7 Processor rev 5 (v7l)"),
        (BIG_LITTLE, "Cortex-A53 + Cortex-A72"),
        (GRAVITON_3, "Neoverse-V1"),
        ({"proc/cpuinfo": "processor : 0\nCPU implementer : 0x61\nCPU part : 0x032\n"}, "Apple part 0x32"),
        ({"proc/cpuinfo": "processor : 0\nCPU implementer : 0x99\nCPU part : 0x001\n"}, "implementer 0x99 part 0x1"),
        ({"proc/cpuinfo": "processor : 0\nisa : rv64imafdc\nuarch : sifive,u74-mc\n"}, "sifive,u74-mc"),
        ({"proc/cpuinfo": "processor : 0\nCPU implementer : what\nCPU part : this\n"}, ""),
    ],
)
def test_a_processor_has_its_maker_s_name(machine: dict[str, str], model: str) -> None:
    assert cpu.model(cpu.processors(machine["proc/cpuinfo"])) == model


def test_flags_are_those_that_kernels_are_chosen_by() -> None:
    flags = cpu.flags(cpu.processors(XEON["proc/cpuinfo"]))
    assert {"avx2", "fma", "avx512_vnni", "amx_int8", "avx_vnni"} <= set(flags)
    assert "hypervisor" not in flags
    assert cpu.flags(cpu.processors(PI_5["proc/cpuinfo"])) == ("asimd", "asimddp", "asimdhp", "fphp")
    assert cpu.flags(cpu.processors(GRAVITON_3["proc/cpuinfo"])) == ("asimd", "asimddp", "bf16", "i8mm", "sve")
    assert cpu.flags([]) == ()


def test_what_only_some_processors_can_is_no_flag_of_the_machine() -> None:
    both = "processor : 0\nflags : avx2 avx512f\n\nprocessor : 1\nflags : avx2\n"
    assert cpu.flags(cpu.processors(both)) == ("avx2",)


def test_threads_of_a_core_count_as_one_physical_core(tmp_path: Path) -> None:
    files = files_of(tmp_path, XEON)
    assert cpu.physical_cores(files, [0, 1, 2, 3]) == 2
    assert cpu.physical_cores(files, [0, 1]) == 1
    assert cpu.physical_cores(files, [1, 2]) == 2


def test_without_a_topology_physical_cores_are_not_known(tmp_path: Path) -> None:
    assert cpu.physical_cores(files_of(tmp_path, PI_2), [0, 1]) is None


def test_caches_are_named_by_level_and_kind(tmp_path: Path) -> None:
    caches = {"L1d": "48 KiB", "L1i": "32 KiB", "L2": "2 MiB", "L3": "105 MiB"}
    assert cpu.caches(files_of(tmp_path, XEON)) == caches


def test_the_clock_is_the_highest_that_may_be_set_or_the_present_one(tmp_path: Path) -> None:
    pi = files_of(tmp_path / "pi", PI_5)
    assert (cpu.mhz(pi, []), cpu.governor(pi)) == (2400.0, "ondemand")
    xeon = files_of(tmp_path / "xeon", XEON)
    assert (cpu.mhz(xeon, cpu.processors(XEON["proc/cpuinfo"])), cpu.governor(xeon)) == (2699.998, "")
    assert cpu.mhz(files_of(tmp_path / "none", PI_2), cpu.processors(PI_2["proc/cpuinfo"])) is None


@pytest.mark.parametrize("text", ["", "\n\n\n", "no colon at all", "processor", ": : :\n\n:", "processor:\n"])
def test_a_cpuinfo_of_nonsense_says_nothing(text: str) -> None:
    cpus = cpu.processors(text)
    assert (cpu.model(cpus), cpu.flags(cpus)) == ("", ())
