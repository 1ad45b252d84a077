"""Limits of control groups count in either version and wherever in the hierarchy they are set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from loadtests.hardware import container
from tests.loadtests.hardware.machines import (
    GRAVITON_3,
    IN_A_SLICE,
    IN_DOCKER,
    IN_KUBERNETES,
    WITHOUT_LIMITS,
    XEON,
    files_of,
)


def says(**answers: str) -> Callable[[str], str]:
    """A systemd-detect-virt."""
    return lambda kind: answers.get(kind.strip("-"), "")


@pytest.mark.parametrize(
    ("machine", "limits"),
    [
        (XEON, {}),
        (WITHOUT_LIMITS, {}),
        (IN_DOCKER, {"cpu.max": "150000 100000", "memory.max": "2147483648"}),
        (IN_A_SLICE, {"cpu.max": "300000 100000", "memory.max": "8589934592"}),
        (IN_KUBERNETES, {"cpu.max": "200000 100000", "memory.max": "4294967296"}),
    ],
    ids=["no groups", "no limits", "docker, version 2", "a slice around it", "kubernetes, version 1"],
)
def test_the_limits_that_hold_are_found(tmp_path: Path, machine: dict[str, str], limits: dict[str, str]) -> None:
    assert container.limits(files_of(tmp_path, machine)) == limits


def test_the_narrowest_of_several_limits_holds(tmp_path: Path) -> None:
    narrow = {**IN_A_SLICE, "sys/fs/cgroup/user.slice/build.service/cpu.max": "50000 100000"}
    assert container.limits(files_of(tmp_path, narrow))["cpu.max"] == "50000 100000"
    assert container.cores_of("50000 100000") == 0.5


@pytest.mark.parametrize("text", ["", "0 0", "100000 0", "-1 100000", "max", "1 2 3", "x y"])
def test_a_limit_that_is_none_is_left_out(tmp_path: Path, text: str) -> None:
    assert "cpu.max" not in container.limits(files_of(tmp_path, {**IN_DOCKER, "sys/fs/cgroup/cpu.max": text}))


@pytest.mark.parametrize("groups", ["", "nonsense", "0:", "0::", "1:cpu", "0::/../../x\n1:cpu:/../.."])
def test_control_groups_of_nonsense_limit_nothing(tmp_path: Path, groups: str) -> None:
    assert container.limits(files_of(tmp_path, {**XEON, "proc/self/cgroup": groups})) == {}


ON_GOOGLE = "unrecognised (Google Compute Engine)"


@pytest.mark.parametrize(
    ("machine", "variables", "said", "found"),
    [
        (IN_DOCKER, {}, says(vm="kvm"), {"container": "docker", "virtualization": "kvm (Google Compute Engine)"}),
        (IN_KUBERNETES, {}, says(), {"container": "kubepods", "virtualization": ON_GOOGLE}),
        (GRAVITON_3, {}, says(vm="amazon"), {"virtualization": "amazon (Amazon EC2 c7g.large)"}),
        (GRAVITON_3, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, says(vm="none"), {"container": "kubernetes"}),
        ({"run/.containerenv": ""}, {}, says(), {"container": "podman"}),
        ({}, {"container": "lxc"}, says(), {"container": "lxc"}),
        ({}, {}, says(container="systemd-nspawn", vm="none"), {"container": "systemd-nspawn"}),
        ({"sys/hypervisor/type": "xen"}, {}, says(), {"virtualization": "xen"}),
        ({"proc/sys/kernel/osrelease": "5.15.0-microsoft-standard-WSL2"}, {}, says(), {"virtualization": "wsl"}),
        ({}, {}, says(), {}),
    ],
)  # fmt: skip
def test_what_it_runs_in_is_recognised(
    tmp_path: Path,
    machine: dict[str, str],
    variables: dict[str, str],
    said: Callable[[str], str],
    found: dict[str, str],
) -> None:
    assert container.recognised(files_of(tmp_path, machine), variables, said) == found
