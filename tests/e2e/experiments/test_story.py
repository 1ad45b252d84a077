"""The whole story: three deployments of the digits are compared on real images, and the best is promoted."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.e2e.experiments.callers import Caller, Told, v2
from tests.e2e.experiments.control import Experiment, report
from tests.e2e.gateway import RunningGateway

ROOT = Path(__file__).resolve().parents[3]
MARGIN = 0.04
ROUND = 300
MOST_ROUNDS = 60
EXPERIMENT = {
    "description": "Which of them reads digits best that sit too far to the left?",
    "owner": "ml-team",
    "control": "tf",
    "variants": {
        "tf": {"target": "digits/1@tfserving", "weight": 34},
        "onnx": {"target": "digits/1@onnxruntime", "weight": 33},
        "two": {"target": "digits/2@onnxruntime", "weight": 33},
    },
    "metrics": {"correct": {"kind": "binary", "better": "higher", "margin": MARGIN}},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """The sample models in a copy, for the backends that are compared."""
    repository = tmp_path_factory.mktemp("story") / "repository"
    others = shutil.ignore_patterns("*.pt", "*.mar", "*.tflite")
    shutil.copytree(ROOT / "model_repo" / "digits", repository / "digits", ignore=others)
    with RunningGateway.running(repository, POLL_S="0.1") as running:
        running.wait_ready(within_s=120)
        yield running


class Visitors:
    """Who show digits, one pixel too far to the left, three each, and say whether they were read rightly."""

    def __init__(self, gateway: RunningGateway, experiment: Experiment) -> None:
        data = load_digits()
        images = np.roll(data.images, -1, axis=2).astype(np.float32)
        self._bodies = [v2("image", each[np.newaxis]) for each in images]
        self._labels = data.target
        self._caller = Caller(gateway.url)
        self._gateway = gateway
        self._experiment = experiment
        self._order = np.random.default_rng(5)
        self._came = 0
        self.told: list[Told] = []
        self.variant_of: dict[str, str] = {}
        self.right: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()

    def come(self, count: int) -> None:
        """Half of them report what became of their requests, the others of themselves, under keys of their own."""
        outcomes: list[dict[str, Any]] = []
        for index in self._order.integers(0, len(self._bodies), count):
            visitor = f"visitor-{self._came // 3}"
            told = self._caller.infer("digits", self._bodies[index], visitor)
            self.told.append(told)
            assert self.variant_of.setdefault(visitor, told.variant) == told.variant
            correct = bool(told.output().argmax() == self._labels[index])
            self.right[told.variant] += correct
            self.asked[told.variant] += 1
            by_unit = {"experiment": str(self._experiment), "unit": visitor, "key": str(self._came)}
            outcomes.append(
                {
                    "metric": "correct",
                    "value": int(correct),
                    **(by_unit if self._came // 3 % 2 else {"request": told.request}),
                }
            )
            self._came += 1
        receipt = report(self._gateway, outcomes)
        assert receipt == {"accepted": count, "duplicates": 0, "sampled_out": 0, "refused": []}
        again = report(self._gateway, outcomes[:10])
        assert (again["accepted"], again["duplicates"]) == (0, 10)


def test_the_best_of_three_deployments_is_found_and_promoted_while_no_request_fails(gateway: RunningGateway) -> None:
    experiment = Experiment(gateway, "digits", "which-reads-best")
    created = experiment.right("PUT", body=EXPERIMENT)
    assert created["state"] == "draft"
    with Caller(gateway.url) as caller:
        image = v2("image", np.zeros((1, 8, 8), np.float32))
        before = caller.infer("digits", image, "visitor-0")
        assert (before.variant, before.served_by) == ("", "digits/2@onnxruntime")
    assert experiment.right("POST", "/start")["run"] == 1

    visitors = Visitors(gateway, experiment)
    for _ in range(MOST_ROUNDS):
        visitors.come(ROUND)
        verdicts = {name: experiment.compared(name, "correct")["verdict"] for name in ("onnx", "two")}
        if "undecided" not in verdicts.values():
            break
    assert verdicts == {"onnx": "no practical difference", "two": "better"}, experiment.view()["analysis"]["words"]
    served = {(each.variant, each.served_by) for each in visitors.told}
    assert served == {("tf", "digits/1@tfserving"), ("onnx", "digits/1@onnxruntime"), ("two", "digits/2@onnxruntime")}

    said = gateway.until(lambda: _complete(experiment, len(visitors.told)))
    for each in said["analysis"]["metrics"]:
        if each["metric"] == "correct":
            name = each["variant"]
            assert each["count"] == visitors.asked[name]
            assert each["estimate"]["value"] == pytest.approx(visitors.right[name] / visitors.asked[name])
    for each in said["variants"]:
        assert (each["requests"], each["errors"]) == (visitors.asked[each["name"]], 0)
    assert not said["analysis"]["sample_ratio"]["alarm"]
    assert said["problems"] == []

    page = gateway.client.get(f"{gateway.control}/models/digits/experiments/which-reads-best")
    assert page.status_code == 200, page.text[:500]
    assert "which-reads-best" in page.text

    _promotion_moves_all_unpinned_traffic(gateway, experiment, visitors)


def _complete(experiment: Experiment, requests: int) -> dict[str, Any] | None:
    view = experiment.view()
    counted = sum(each["count"] for each in view["analysis"]["metrics"] if each["metric"] == "correct")
    return view if (experiment.requests(), counted) == (requests, requests) else None


def _promotion_moves_all_unpinned_traffic(gateway: RunningGateway, experiment: Experiment, visitors: Visitors) -> None:
    ended = experiment.right("POST", "/promote", {"variant": "onnx"})
    assert (ended["state"], ended["winner"]) == ("stopped", "onnx")
    labels = gateway.client.get(f"{gateway.control}/v1/models/digits/labels").json()
    assert labels["labels"]["stable"] == 1, labels
    with Caller(gateway.url) as caller:
        image = v2("image", np.zeros((1, 8, 8), np.float32))
        assert {caller.infer("digits", image, f"visitor-{n}").served_by for n in range(20)} == {"digits/1@onnxruntime"}
        experiment.right("POST", "/start")
        assert experiment.right("POST", "/promote", {"variant": "two"})["winner"] == "two"
        after = [caller.infer("digits", image, f"visitor-{n}") for n in range(20)]
    assert {(each.status, each.variant, each.served_by) for each in after} == {(200, "", "digits/2@onnxruntime")}
    assert all(each.status == 200 for each in visitors.told)
    actions = [each["action"] for each in experiment.events()]
    assert actions == ["promoted", "started", "promoted", "started", "created"]
