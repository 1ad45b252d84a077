"""Experiments as files that people put into place: two gateways over one folder take them up, and assign alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.experiments.callers import Caller, Told, v2
from tests.e2e.experiments.control import Experiment
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish
from tests.gateway.experiments.store.postgresql_server import programs
from tests.gateway.experiments.store.postgresql_server import running as running_postgresql

BODY = v2("x", np.array([[1, 2]], np.float32))
UNITS = 300
MODELS = ("add", "other", "third")
RIGHT = """\
# Written by hand; this comment stays.
state = "{state}"
[variants.a]
target = "{model}/1"
weight = {a}  # percent
[variants.b]
target = "{model}/2"
weight = {b}
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files") / "repository"
    for model in MODELS:
        for version in (1, 2):
            publish(folder, model, version, {"model.onnx": add_model(version)})
    return folder


@pytest.fixture(scope="module")
def gateways(repository: Path) -> Iterator[list[RunningGateway]]:
    """Two over one folder, each with a store of its own; they look at the folder as often as they do by default."""
    with RunningGateway.running(repository) as one, RunningGateway.running(repository) as other:
        for each in (one, other):
            each.wait_ready(within_s=60)
        yield [one, other]


def put(repository: Path, model: str, name: str, text: str) -> None:
    """Write a file elsewhere, and rename it into place."""
    folder = repository / model / "experiments"
    folder.mkdir(exist_ok=True)
    staged = repository.parent / f"staged-{os.urandom(4).hex()}"
    staged.write_text(text)
    staged.rename(folder / f"{name}.toml")


def right(model: str = "add", state: str = "running", a: float = 80, b: float = 20) -> str:
    return RIGHT.format(model=model, state=state, a=a, b=b)


def variants(gateway: RunningGateway, model: str = "add") -> dict[str, str]:
    """By unit."""
    with Caller(gateway.url) as caller:
        told = {f"unit-{number}": caller.infer(model, BODY, f"unit-{number}") for number in range(UNITS)}
    assert {each.status for each in told.values()} == {200}
    return {unit: each.variant for unit, each in told.items()}


def share(found: dict[str, str], variant: str) -> float:
    return sum(each == variant for each in found.values()) / len(found)


def _reweighted(text: str) -> str:
    return text.replace("\nweight = 80", "\nweight = 40").replace("\nweight = 20", "\nweight = 60")


def count_soon(gateways: list[RunningGateway], experiment: str, weights: dict[str, float]) -> None:
    """Wait until these weights are in force everywhere."""
    model, _, name = experiment.partition("/")
    for each in gateways:
        each.until(lambda each=each: _weights(Experiment(each, model, name)) == weights)


def _weights(experiment: Experiment) -> dict[str, float] | None:
    response = experiment.ask("GET", "/status")
    if response.status_code == 404:
        return None
    return {each["name"]: each["weight"] for each in response.json()["variants"]}


def started_at(gateways: list[RunningGateway], model: str) -> Callable[[], bool]:
    def one(gateway: RunningGateway) -> Told:
        with Caller(gateway.url) as caller:
            return caller.infer(model, BODY, "unit-0")

    return lambda: all(one(each).variant for each in gateways)


def test_a_file_put_into_place_starts_and_edited_weights_count_within_seconds_on_two_gateways(
    gateways: list[RunningGateway], repository: Path
) -> None:
    put(repository, "add", "by-hand", right())
    gateways[0].until(started_at(gateways, "add"))
    first, second = (variants(each) for each in gateways)
    assert first == second
    assert share(first, "b") == pytest.approx(0.2, abs=0.08)
    file = repository / "add" / "experiments" / "by-hand.toml"
    gateways[0].until(lambda: "[current]" in file.read_text())  # by either of the two
    assert file.read_text().startswith("# Written by hand; this comment stays.")

    put(repository, "add", "by-hand", _reweighted(file.read_text()))
    count_soon(gateways, "add/by-hand", {"a": 40, "b": 60})
    now = [variants(each) for each in gateways]
    assert now[0] == now[1]
    assert share(now[0], "b") == pytest.approx(0.6, abs=0.1)
    assert {now[0][unit] for unit, variant in first.items() if variant == "b"} == {"b"}  # who had b keeps it
    for each in gateways:
        experiment = Experiment(each, "add", "by-hand")
        assert experiment.view()["definition"]["run"] == 1
        each.until(lambda experiment=experiment: experiment.requests() >= 2 * UNITS)  # its own


def test_what_one_gateway_is_told_the_other_does(gateways: list[RunningGateway], repository: Path) -> None:
    one, other = (Experiment(each, "third", "told") for each in gateways)
    one.right(
        "PUT", body={"variants": {"a": {"target": "third/1", "weight": 50}, "b": {"target": "third/2", "weight": 50}}}
    )
    one.right("POST", "/start")
    gateways[1].until(started_at(gateways, "third"))
    other.right("PATCH", body={"weights": {"a": 10, "b": 90}})
    count_soon(gateways, "third/told", {"a": 10, "b": 90})
    assert variants(gateways[0], "third") == variants(gateways[1], "third")
    one.right("POST", "/stop")
    gateways[1].until(lambda: other.view()["definition"]["state"] == "stopped")
    gateways[1].until(lambda: set(variants(gateways[1], "third").values()) == {""})


def _mistakes() -> dict[str, tuple[str, str]]:
    """Files, and what is to be said of them."""
    model = "other"
    return {
        "no-sum": (right(model, a=80, b=30), "weights that sum to 100, found 110"),
        "negative": (right(model, a=120, b=-20), "variants.b.weight"),
        "no-key": (right(model) + "[guardrails]\nlatency = 3\n", "guardrails.latency: this key is unknown"),
        "no-toml": ("[variants\n", "not TOML"),
        "other-model": (right(model).replace("other/2", "add/2"), "expected a version of model 'other'"),
        "one-variant": (right(model).partition("[variants.b]")[0].replace("80", "100"), "variants"),
        "no-control": ('control = "c"\n' + right(model), "control: expected one of the variants a, b"),
        "Bad Name": (right(model), "a-z 0-9"),
    }


def test_mistakes_in_files_are_told_each_with_its_file_and_nothing_else_breaks(
    gateways: list[RunningGateway], repository: Path
) -> None:
    one, mistakes = gateways[0], _mistakes()
    for name, (text, _) in mistakes.items():
        put(repository, "other", name, text)
    one.until(lambda: len(one.status()["problems"]) >= len(mistakes))
    problems = one.status()["problems"]
    listed = one.client.get(f"{one.control}/v1/experiments").json()["problems"]
    for name, (_, said) in mistakes.items():
        mine = [each for each in problems if f"other/experiments/{name}.toml" in each]
        assert (len(mine), [said in each for each in mine]) == (1, [True]), mine
        assert mine[0] in listed
    assert len(problems) == len(mistakes)
    assert set(variants(one, "other").values()) == {""}
    assert one.get("/v2/health/ready").status_code == 200
    for name in mistakes:
        (repository / "other" / "experiments" / f"{name}.toml").unlink()
    one.until(lambda: not one.status()["problems"])


def test_a_running_experiment_goes_on_as_it_was_while_its_file_is_wrong(
    gateways: list[RunningGateway], repository: Path
) -> None:
    file = repository / "add" / "experiments" / "by-hand.toml"
    text = file.read_text()
    before = variants(gateways[0])
    put(repository, "add", "by-hand", text + "\nnonsense = [")
    gateways[0].until(lambda: gateways[0].status()["problems"])
    assert variants(gateways[0]) == before
    view = Experiment(gateways[0], "add", "by-hand").view()
    assert any("not TOML" in each for each in view["problems"])
    refused = Experiment(gateways[0], "add", "by-hand").ask("PATCH", body={"owner": "me"})
    assert refused.status_code == 403, refused.text
    put(repository, "add", "by-hand", text)
    gateways[0].until(lambda: not gateways[0].status()["problems"])
    assert variants(gateways[0]) == before


WAITING = {
    "unknown-version": ("other/7", "version"),
    "unknown-backend": ("other/2@tflite", "tflite"),
    "unknown-label": ("canary", "canary"),
    "not-ready": ("other/3", "other/3@onnxruntime is"),
}


def test_experiments_wait_for_variants_that_are_not_there_and_say_so(
    gateways: list[RunningGateway], repository: Path
) -> None:
    one = gateways[0]
    publish(repository, "other", 3, {"model.onnx": b"not a model"})
    for name, (target, _) in WAITING.items():
        put(repository, "other", name, right("other").replace('"other/2"', f'"{target}"'))
    for name, (_, said) in WAITING.items():
        experiment = Experiment(one, "other", name)
        waits: list[str] = one.until(lambda at=experiment, said=said: _problems_with(at, said))
        assert "it waits: variants.b.target" in waits[0]
        assert experiment.ask("POST", "/start").status_code == 409
    assert set(variants(one, "other").values()) == {""}
    for name in WAITING:
        (repository / "other" / "experiments" / f"{name}.toml").unlink()
    one.until(lambda: Experiment(one, "other", "not-ready").ask("GET").status_code == 404)


def _problems_with(experiment: Experiment, said: str) -> list[str]:
    return [each for each in experiment.ask("GET", "/status").json().get("problems", ()) if said in each]


def test_of_two_experiments_over_the_same_traffic_the_earlier_counts_and_the_other_says_so(
    gateways: list[RunningGateway], repository: Path
) -> None:
    put(repository, "add", "second", right())
    experiment = Experiment(gateways[0], "add", "second")
    problems: Any = gateways[0].until(lambda: experiment.ask("GET", "/status").json().get("problems"))
    assert "over the same traffic as add/by-hand" in problems[0]
    with Caller(gateways[0].url) as caller:
        assert caller.infer("add", BODY, "unit-1").headers["torii-experiment"] == "add/by-hand"
    (repository / "add" / "experiments" / "second.toml").unlink()
    gateways[0].until(lambda: experiment.ask("GET", "/status").status_code == 404)


@pytest.mark.skipif(programs() is None, reason="PostgreSQL's server is not installed (apt-get install postgresql)")
def test_two_gateways_that_share_a_store_assign_alike_and_see_each_others_evidence(repository: Path) -> None:
    binaries = programs()
    assert binaries is not None
    put(repository, "other", "shared", right("other", a=50, b=50))
    with running_postgresql(binaries) as server:
        store = {"STORE": server.url(server.database()), "POLL_S": "0.1"}
        with (
            RunningGateway.running(repository, STORE_NAME="one", **store) as one,
            RunningGateway.running(repository, STORE_NAME="two", **store) as two,
        ):
            both = [one, two]
            for each in both:
                each.wait_ready(within_s=60)
            one.until(started_at(both, "other"), within_s=20)
            assert variants(one, "other") == variants(two, "other")
            views = [Experiment(each, "other", "shared") for each in both]
            one.until(lambda: min(each.requests() for each in views) >= UNITS)
    (repository / "other" / "experiments" / "shared.toml").unlink()
