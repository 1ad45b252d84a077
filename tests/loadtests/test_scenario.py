from __future__ import annotations

from pathlib import Path

import pytest

from loadtests import scenario
from loadtests.scenario import ALL_THERE_IS, BadScenario, Frameworks, Server

_LEAST = 'kind = "frameworks"\ndeployments = "all of digits/1"\n'


def written(folder: Path, text: str) -> str:
    file = folder / "mine.toml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("quick", [False, True])
def test_every_scenario_that_comes_with_torii_is_right(quick: bool) -> None:
    found = [scenario.read(name, quick=quick) for name in scenario.names()]
    assert {each.kind for each in found} == set(scenario.KINDS)
    assert all(each.description for each in found)


def test_a_scenario_is_named_by_its_file(tmp_path: Path) -> None:
    assert scenario.read(written(tmp_path, _LEAST)).name == "mine"


def test_quick_and_changes_come_on_top_key_by_key(tmp_path: Path) -> None:
    text = 'kind = "server"\ndeployments = ["digits"]\nseconds = 9\n[bound]\nlatency_ms = 7\nfirst_rate = 3\n'
    file = written(tmp_path, text + "[quick]\nseconds = 1\n[quick.bound]\nlatency_ms = 70\n")
    read = scenario.read(file, {"rounds": 5, "gateway": {"url": "http://elsewhere:1"}}, quick=True)
    assert isinstance(read, Server)
    assert (read.seconds, read.rounds, read.bound.latency_ms, read.bound.first_rate) == (1, 5, 70, 3)
    assert read.gateway.url == "http://elsewhere:1"
    slow = scenario.read(file)
    assert isinstance(slow, Server)
    assert (slow.seconds, slow.bound.latency_ms) == (9, 7)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (_LEAST + "secnods = 3", "mine.toml: secnods: unknown key; expected one of connections, "),
        (_LEAST + "[gateway]\nurls = 3", "mine.toml: gateway.urls: unknown key; expected one of control, grpc_port"),
        (_LEAST + "rounds = 0", "mine.toml: rounds: Input should be greater than or equal to 1; got 0"),
        (_LEAST + 'dialects = ["v3"]', "mine.toml: dialects.0: Input should be 'v2-json'"),
        (_LEAST + 'hardware = "fast"', "mine.toml: hardware: expected 'as served'"),
        ('kind = "frameworks"', "mine.toml: deployments: expected a value, and there is none"),
        ('kind = "frameworks"\ndeployments = ["a b"]', "mine.toml: deployments: expected MODEL, MODEL/VERSION"),
        ('kind = "best"', "mine.toml: kind: expected one of single-stream, multi-stream"),
        ("kind = ", "mine.toml: not TOML"),
        (_LEAST + "quick = 3", "mine.toml: quick: expected a table"),
        ('kind = "ab-split"\ndeployments = ["digits"]\n[experiment.shares]\na = 20\nb = 70', "sum to 100"),
    ],
)
def test_a_mistake_is_told_with_file_key_and_what_was_expected(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(BadScenario) as raised:
        scenario.read(written(tmp_path, text))
    assert told in str(raised.value)


def test_a_name_that_is_no_scenario_is_told_with_those_there_are() -> None:
    with pytest.raises(BadScenario, match=r"nope: expected a .toml file, or one of ab-split, cold-start"):
        scenario.read("nope")


def test_a_kind_that_changes_the_gateway_needs_one_of_its_own(tmp_path: Path) -> None:
    file = written(tmp_path, 'kind = "rolling-update"\ndeployments = ["digits"]\n')
    with pytest.raises(BadScenario, match=r"gateway.repository: expected a folder of models"):
        scenario.read(file)
    assert scenario.read(file, {"gateway": {"repository": "model_repo"}}).gateway.repository == Path("model_repo")


def test_hardware_cannot_be_set_on_a_gateway_that_runs_already(tmp_path: Path) -> None:
    file = written(tmp_path, _LEAST + f'hardware = "{ALL_THERE_IS}"')
    with pytest.raises(BadScenario, match="hardware: expected 'as served' for a gateway that runs already"):
        scenario.read(file)
    read = scenario.read(file, {"gateway": {"repository": "model_repo"}})
    assert isinstance(read, Frameworks)
    assert read.hardware == ALL_THERE_IS
