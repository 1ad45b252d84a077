"""A machine's name is short, fit for a folder, and the same for equal hardware."""

from __future__ import annotations

import re

import pytest

from loadtests.hardware.naming import name_of

GIB = 2**30


@pytest.mark.parametrize(
    ("cpu", "cores", "memory", "gpus", "name"),
    [
        ("AMD EPYC 9B14 96-Core Processor", 2, 24 * GIB, [], "EPYC-9B14-2c-24GB"),
        ("AMD EPYC", 2, 24684096 * 1024, [], "EPYC-2c-24GB"),
        ("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", 4, 16 * GIB, [], "Xeon-Platinum-8481C-4c-16GB"),
        ("Intel Xeon Processor (Skylake, IBRS)", 8, 32 * GIB, [], "Xeon-Skylake-8c-32GB"),
        ("13th Gen Intel(R) Core(TM) i7-1360P", 16, 31.1 * GIB, [], "Core-i7-1360P-16c-32GB"),
        ("AMD Ryzen 9 7950X 16-Core Processor", 32, 62.7 * GIB, [], "Ryzen-9-7950X-32c-64GB"),
        ("Apple M2 Pro", 10, 16 * GIB, [], "Apple-M2-Pro-10c-16GB"),
        ("Raspberry Pi 5 Model B Rev 1.0", 4, 8256432 * 1024, [], "Raspberry-Pi-5-B-4c-8GB"),
        ("Cortex-A53 + Cortex-A72", 6, 3.7 * GIB, [], "Cortex-A53-6c-4GB"),
        ("Neoverse-V1", 2, 125.8 * GIB, [], "Neoverse-V1-2c-128GB"),
        ("whatever", 16, 128 * GIB, ["NVIDIA H100 80GB HBM3"], "H100-16c"),
        ("whatever", 32, 128 * GIB, ["NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-40GB"], "2xA100-32c"),
        ("whatever", 8, 32 * GIB, ["Tesla T4"], "T4-8c"),
        ("whatever", 8, 32 * GIB, ["NVIDIA GeForce RTX 4090"], "RTX-4090-8c"),
        ("", 1, 0.5 * GIB, [], "unknown-1c-0.5GB"),
        ("x86_64", 1, 0, [], "x86-64-1c"),
        ("../../etc/passwd", 1, 0, [], "etc-passwd-1c"),
    ],
)
def test_a_machine_is_named_by_what_matters(cpu: str, cores: int, memory: float, gpus: list[str], name: str) -> None:
    given = name_of(cpu, cores, int(memory), gpus)
    assert given == name
    assert re.fullmatch(r"[A-Za-z0-9.-]{1,64}", given)


def test_what_a_kernel_keeps_for_itself_does_not_change_the_name() -> None:
    assert name_of("EPYC", 2, int(62.3 * GIB), []) == name_of("EPYC", 2, int(62.9 * GIB), [])
