"""What goes wrong with a run is told; what can be measured is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loadtests import gateways
from loadtests.gateways import NoGateway
from loadtests.run.probing import Prober
from loadtests.run.subjects import Subject
from tests.e2e.gateway import RunningGateway, free_port
from tests.e2e.loadtests.command import TORII, at, begin, call, end, figure, quick, requests, scenario
from tests.e2e.models import add_model, publish, withdraw


def test_bad_input_is_told_and_ends_with_2(tmp_path: Path) -> None:
    mine = scenario(tmp_path, 'kind = "load"\ndeployments = ["add"]\nsecnods = 3\n')
    nowhere = ["open", "--url", f"http://127.0.0.1:{free_port()}"]
    nothing = begin(tmp_path / "out", "run", *nowhere, by=TORII), begin(tmp_path / "out", "run", mine)
    no_gateway, unknown_key = (end(each, tmp_path) for each in nothing)
    for ended in (no_gateway, unknown_key):
        assert ended.status == 2
        assert "Traceback" not in ended.err
    assert "does not answer" in no_gateway.err
    assert "torii serve model_repo" in no_gateway.err
    assert "mine.toml: secnods: unknown key; expected one of" in unknown_key.err
    assert not (tmp_path / "out").exists()


def test_a_gateway_that_cannot_be_measured_is_told() -> None:
    with pytest.raises(NoGateway, match="expected http://HOST:PORT"):
        gateways.running("ftp://x")
    for repository, models, told in (
        ("nowhere-at-all", [], "expected a folder of models, and there is none"),
        ("model_repo", ["mnist"], "has no model mnist; it has digits"),
    ):
        with pytest.raises(NoGateway, match=told), gateways.started(Path(repository), models=models):
            pass


def test_a_row_that_fails_ends_before_any_load_and_the_others_go_on(gateway: RunningGateway, tmp_path: Path) -> None:
    publish(gateway.repository, "sum", 1, {"model.onnx": add_model(1), "model.other.onnx": add_model(9)})
    gateway.until(lambda: gateway.state("sum/1@onnxruntime-other") == "READY")
    right, wrong, absent = "sum/1@onnxruntime", "sum/1@onnxruntime-other", "sum/9@onnxruntime"
    ended = call(tmp_path, *quick("open", "--deployments", f"{absent},{wrong},{right}"), *at(gateway))
    assert ended.status == 1
    row = ended.row(right)
    assert (row.status, row.why) == ("measured", "")
    row = ended.row(wrong)
    assert (row.status, row.runs) == ("failed", ())
    assert "wrong answer: output y is" in row.why
    assert f"of {right}" in row.why
    row = ended.row(absent)
    assert (row.status, row.runs) == ("failed", ())
    assert "404" in row.why
    assert f"{absent} v2-json: failed: " in ended.err


def test_answers_that_are_not_those_of_the_golden_data_are_wrong(gateway: RunningGateway, tmp_path: Path) -> None:
    (tmp_path / "add/1").mkdir(parents=True)
    xs = np.arange(8, dtype=np.float32).reshape(4, 2)
    there = gateways.running(gateway.url, gateway.control)
    for constant, told in ((1, ""), (9, "wrong answer: output y is")):
        np.savez(tmp_path / "add/1/golden.npz", **{"inputs/x": xs, "outputs/y": xs + constant})
        prober = Prober("invented", 0.01, repository=tmp_path)
        why = prober.check(there, Subject("add/1@onnxruntime", "v2-json", "as served", "invented"))
        assert why.startswith(told)
        assert bool(told) == ("golden.npz" in why)


def test_a_deployment_that_goes_away_in_the_middle_is_told_and_the_run_ends_in_order(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    publish(gateway.repository, "brief", 1, {"model.onnx": add_model(1)})
    gateway.until(lambda: gateway.state("brief/1@onnxruntime") == "READY")
    text = (
        'kind = "load"\ndeployments = ["brief/1@onnxruntime"]\nlevels = [2]\nrounds = 1\nseconds = 2\nwarm_up_s = 0\n'
    )
    before, file = requests(gateway), scenario(tmp_path, text + 'payload = "invented"\n')
    with begin(tmp_path / "out", "run", file, *at(gateway)) as process:
        gateway.until(lambda: requests(gateway) > before + 100, within_s=60)
        withdraw(gateway.repository, "brief", 1)
        ended = end(process, tmp_path / "out")
    assert ended.status in {0, 1}, ended.err
    row = ended.row("brief/1@onnxruntime")
    assert row.status == "measured"
    failed = [each.failures for run in row.runs for each in run.slices if each.failures]
    assert set().union(*failed) <= {"status 404", "status 503"}
    assert failed
    assert (figure(row, "errors").value or 0) > 0
    assert "a request failed: " in ended.err


def test_the_command_says_what_it_is_for(tmp_path: Path) -> None:
    with begin(tmp_path, "--help", by=(*TORII, "run")) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Put load on a gateway" in out
    assert "--quick" in out
