"""What a container or a virtual machine leaves of the machine: limits of control groups, and who limits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from loadtests.hardware.files import Files

_GROUPS: Final = "sys/fs/cgroup"
_V1: Final = {
    "cpu.max": ("cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")),
    "memory.max": ("memory", ("memory.limit_in_bytes",)),
    "cpuset.cpus": ("cpuset", ("cpuset.cpus",)),
}
"""Version 2's names to version 1's controllers and files."""

_NO_LIMIT_BYTES: Final = 1 << 60  # version 1 says "none" by the largest number of whole pages
_ENGINES: Final = ("kubepods", "docker", "libpod", "containerd", "lxc")
_WITHOUT_VALUE: Final = {"", "none"}


def limits(files: Files) -> dict[str, str]:
    """What is limited: `cpu.max` (µs of CPU in so many µs: `200000 100000`), `memory.max` (bytes), `cpuset.cpus`.

    The narrowest limit of this process's control group and of those around it counts.
    """
    found = {name: [text for path in _paths(files, name) if (text := _limit(files, path, name))] for name in _V1}
    narrowest: dict[str, Callable[[str], float]] = {"cpu.max": cores_of, "memory.max": float}
    return {name: min(texts, key=narrowest.get(name, len)) for name, texts in found.items() if texts}


def _paths(files: Files, name: str) -> list[str]:
    """Folders of control groups that may limit `name`, this process's own first."""
    paths = []
    for line in files.text("proc/self/cgroup").splitlines():
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            mount = _GROUPS
        elif _V1[name][0] in controllers.split(","):
            mount = f"{_GROUPS}/{_V1[name][0]}"
        else:
            continue
        parts = [part for part in group.split("/") if part not in {"", ".."}]
        # A container may see the path that its host has, which is not there, and its limits at the top.
        paths += ["/".join([mount, *parts[:depth]]) for depth in range(len(parts), -1, -1)]
    return paths


def _limit(files: Files, folder: str, name: str) -> str:
    text = files.text(f"{folder}/{name}") or " ".join(files.text(f"{folder}/{old}") for old in _V1[name][1]).strip()
    if name == "cpu.max":
        return text if re.fullmatch(r"[1-9]\d* [1-9]\d*", text) else ""
    if name == "memory.max":
        return text if text.isdecimal() and int(text) < _NO_LIMIT_BYTES else ""
    return text


def cores_of(cpu_max: str) -> float:
    """How many cores' time a `cpu.max` is."""
    quota, period = map(int, cpu_max.split())
    return quota / period


def recognised(files: Files, variables: Mapping[str, str], detect: Callable[[str], str]) -> dict[str, str]:
    """`container` and `virtualization` where there is one; `detect("--vm")` is what systemd-detect-virt says."""
    found = {"container": _container(files, variables, detect), "virtualization": _virtualization(files, detect)}
    return {key: value for key, value in found.items() if value}


def _container(files: Files, variables: Mapping[str, str], detect: Callable[[str], str]) -> str:
    if "KUBERNETES_SERVICE_HOST" in variables:
        return "kubernetes"
    if files.exists("run/.containerenv"):
        return "podman"
    if files.exists(".dockerenv"):
        return "docker"
    if named := variables.get("container"):
        return named
    group = files.text("proc/self/cgroup")
    engine = next((engine for engine in _ENGINES if engine in group), "")
    said = detect("--container")
    return engine or ("" if said in _WITHOUT_VALUE else said)


def _virtualization(files: Files, detect: Callable[[str], str]) -> str:
    said = detect("--vm")
    maker, product = (files.text(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
    hypervisor = files.text("sys/hypervisor/type")
    kind = hypervisor if said in _WITHOUT_VALUE else said
    if not kind and re.search(r"^flags\s*:.*\bhypervisor\b", files.text("proc/cpuinfo"), re.MULTILINE):
        kind = "unrecognised"
    if "microsoft" in files.text("proc/sys/kernel/osrelease").lower():
        kind = "wsl"
    board = product if product.startswith(maker) else f"{maker} {product}"
    return f"{kind} ({board})" if kind and product else kind
