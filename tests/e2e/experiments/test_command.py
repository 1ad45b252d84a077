"""`torii experiment`, as people use it: one experiment from its plan to its end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.experiments.callers import Caller, v2
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish

BODY = v2("x", np.array([[1, 2]], np.float32))
MAKE = (
    "create", "add/which", "--variant", "old=add/1:90", "--variant", "new=add/2:10",
    "--metric", "good:binary:higher:0.02", "--unit", "header:torii-unit", "--owner", "ml-team",
)  # fmt: skip


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    repository = tmp_path_factory.mktemp("command") / "repository"
    for version in (1, 2):
        publish(repository, "add", version, {"model.onnx": add_model(version)})
    with RunningGateway.running(repository, POLL_S="0.1", SETTLE_S="0") as running:
        running.wait_ready(within_s=60)
        yield running


def torii(gateway: RunningGateway, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "experiment", *words, "--control", gateway.control],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def said(gateway: RunningGateway, *words: str) -> str:
    done = torii(gateway, *words)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def test_an_experiment_from_its_creation_to_its_promotion(gateway: RunningGateway) -> None:
    file = gateway.repository / "add" / "experiments" / "which.toml"
    assert "it is a draft: torii experiment start add/which" in said(gateway, *MAKE)
    assert 'owner = "ml-team"' in file.read_text()
    assert "started add/which: running, old 90 %, new 10 %" in said(gateway, "start", "add/which")
    with Caller(gateway.url) as caller:
        assert {caller.infer("add", BODY, f"unit-{number}").variant for number in range(200)} == {"old", "new"}
        assert "old 50 %, new 50 %" in said(gateway, "set", "add/which", "old=50", "new=50")
        told = [caller.infer("add", BODY, f"unit-{number}") for number in range(300)]
    assert 100 < sum(each.variant == "new" for each in told) < 200
    status = said(gateway, "status", "add/which")
    for word in ("add/which", "old", "new", "latency_ms", "errors", "good"):
        assert word in status
    view = json.loads(said(gateway, "status", "add/which", "--json"))
    assert view["definition"]["state"] == "running"
    assert "add/which" in said(gateway, "list")
    again = torii(gateway, "start", "add/which")
    assert (again.returncode, "409" in again.stderr, "runs already" in again.stderr) == (1, True, True)
    refused = torii(gateway, "remove", "add/which")
    assert (refused.returncode, "stop it first" in refused.stderr) == (1, True)
    assert "label stable: none -> 2" in said(gateway, "promote", "add/which", "new") + file.read_text()
    events = said(gateway, "events", "add/which")
    for action in ("created", "started", "changed", "promoted"):
        assert action in events
    assert "add/which is removed" in said(gateway, "remove", "add/which")
    assert not file.exists()
    assert "no experiments" in said(gateway, "list")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("create", "add/x", "--variant", "old=add/1:90"), "variants"),
        (("create", "add/x", "--variant", "old=add/1:90", "--variant", "new=add/2:20"), "sum to 100"),
        (("create", "add/x", "--variant", "old:90", "--variant", "new=add/2:10"), "NAME=TARGET:PERCENT"),
        (("create", "nothing/x", *MAKE[2:]), "nothing"),
        (("create", "add", *MAKE[2:]), "MODEL/NAME"),
        (("start", "add/nothing"), "add/nothing"),
        (("promote", "add/nothing", "b"), "add/nothing"),
        (("set", "add/nothing"), "something to change"),
    ],
)
def test_what_cannot_be_is_refused_in_words(gateway: RunningGateway, words: tuple[str, ...], wanted: str) -> None:
    done = torii(gateway, *words)
    assert done.returncode == 1
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr


def test_a_list_with_mistakes_says_so_by_its_exit_code(gateway: RunningGateway) -> None:
    file = gateway.repository / "add" / "experiments" / "wrong.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text('state = "perhaps"\n')
    gateway.until(lambda: gateway.status()["problems"])
    done = torii(gateway, "list")
    file.unlink()
    assert done.returncode == 2
    assert "add/experiments/wrong.toml" in done.stdout
    assert Path(file).name in done.stdout


def test_without_a_gateway_the_command_says_where_it_looked() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "experiment", "list", "--control", "http://127.0.0.1:9"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Is `torii serve` running?" in done.stderr


def test_a_plan_needs_no_gateway() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "experiment", "plan", "--rate", "0.9", "--effect", "0.02", "--per-s", "50"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert any(each.isdigit() for each in done.stdout)
