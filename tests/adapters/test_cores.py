"""A process has the cores that its affinity allows, and no more than its control group has time for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters import cores
from adapters.cores import cpu_quota, threads_each, usable_cores

CHILDS = "0::/user.slice/torii.service\n"


def root(folder: Path, groups: str, **limits: str) -> Path:
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(groups)
    for path, text in limits.items():
        file = folder / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("groups", "limits", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        (CHILDS, {"user.slice/torii.service/cpu.max": "max 100000\n", "user.slice/cpu.max": "400000 100000\n"}, 4.0),
        (CHILDS, {"user.slice/torii.service/cpu.max": "50000 100000\n", "user.slice/cpu.max": "400000 100000\n"}, 0.5),
        (CHILDS, {"cpu.max": "300000 100000\n"}, 3.0),
        ("4:cpu,cpuacct:/docker/abc\n", {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("4:memory:/\n", {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("0::/../..\n", {"cpu.max": "100000 100000\n"}, 1.0),
        ("0::/\n", {"cpu.max": "100000 0\n"}, None),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("0::/\n", {}, None),
        ("", {"cpu.max": "100000 100000\n"}, None),
    ],
)
def test_the_narrowest_quota_around_the_process_holds(
    tmp_path: Path, groups: str, limits: dict[str, str], quota: float | None
) -> None:
    assert cpu_quota(root(tmp_path, groups, **limits)) == quota


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(("quota", "usable"), [(None, 8), (0.5, 1), (1.5, 1), (2.0, 2), (100.0, 8)])
def test_a_quota_leaves_whole_cores_and_one_at_least(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, usable: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert usable_cores() == usable
    assert threads_each({"instances": 2}) == max(1, usable // 2)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds processes to cores")
def test_a_process_that_is_bound_to_one_core_runs_one_thread() -> None:
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from adapters.cores import threads_each; print(threads_each({}))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "1"
