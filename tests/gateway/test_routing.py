"""Which deployment answers: every rule, and errors that say what there is instead."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gateway.errors import ModelNotFound, VersionNotReady
from gateway.routing import choose
from gateway.types import Deployment, ModelTable, Standing, State, Target

BACKENDS = ("onnxruntime", "tflite", "tfserving")


def table(labels: Mapping[str, int] | None = None, name: str = "digits", **states: str) -> dict[str, ModelTable]:
    """Deployments written as `v2_tflite="READY"`, or with a reason, `v2_tflite="FAILED: no graph"`."""
    standings = {}
    for key, state in states.items():
        version, _, backend = key.removeprefix("v").partition("_")
        word, _, reason = state.partition(": ")
        standings[Deployment(name, int(version), backend)] = Standing(State(word), reason)
    return {name: ModelTable(name, BACKENDS, labels or {}, standings)}


ALL_READY = {f"v{version}_{backend}": "READY" for version in (1, 2, 10) for backend in ("tflite", "onnxruntime")}


@pytest.mark.parametrize(
    ("target", "labels", "answers"),
    [
        ("digits", {}, "digits/10@onnxruntime"),
        ("digits@tflite", {}, "digits/10@tflite"),
        ("digits", {"stable": 2}, "digits/2@onnxruntime"),
        ("digits@tflite", {"stable": 2}, "digits/2@tflite"),
        ("digits", {"canary": 1}, "digits/10@onnxruntime"),
        ("digits/1", {"stable": 2}, "digits/1@onnxruntime"),
        ("digits/1@tflite", {"stable": 2}, "digits/1@tflite"),
        ("digits:canary", {"stable": 2, "canary": 1}, "digits/1@onnxruntime"),
        ("digits:stable@tflite", {"stable": 2, "canary": 1}, "digits/2@tflite"),
    ],
)
def test_version_label_stable_newest_in_this_order_and_backends_in_the_model_s(
    target: str, labels: dict[str, int], answers: str
) -> None:
    assert str(choose(parse(target), table(labels, **ALL_READY))) == answers


def parse(text: str) -> Target:
    name, _, backend = text.partition("@")
    name, _, label = name.partition(":")
    name, _, version = name.partition("/")
    return Target(name, int(version) if version else None, label or None, backend or None)


@pytest.mark.parametrize("state", ["FOUND", "LOADING", "FAILED", "DRAINING", "UNLOADED"])
def test_a_newer_version_answers_once_it_is_ready_and_not_before(state: str) -> None:
    tables = table(v1_onnxruntime="READY", v2_onnxruntime=state)
    assert choose(Target("digits"), tables).version == 1


def test_a_version_that_is_ready_on_one_backend_answers_there_rather_than_an_older_one() -> None:
    tables = table(v1_onnxruntime="READY", v2_onnxruntime="LOADING", v2_tfserving="READY")
    assert str(choose(Target("digits"), tables)) == "digits/2@tfserving"


def test_a_pinned_backend_gets_its_own_newest_ready_version() -> None:
    tables = table(v1_tflite="READY", v2_tflite="FAILED", v2_onnxruntime="READY")
    assert str(choose(Target("digits", backend="tflite"), tables)) == "digits/1@tflite"


def test_a_backend_that_the_model_does_not_name_comes_last() -> None:
    tables = table(v1_later="READY", v1_tfserving="READY")
    assert choose(Target("digits"), tables).backend == "tfserving"
    assert choose(Target("digits"), table(v1_later="READY")).backend == "later"


@pytest.mark.parametrize("plain", ["READY", "FAILED", "LOADING"])
def test_a_quantized_model_answers_in_the_place_of_no_plain_one(plain: str) -> None:
    tables = table(v1_tflite="READY", v2_tflite=plain, **{"v2_tflite-int8": "READY"})
    assert str(choose(Target("digits"), tables)) == ("digits/2@tflite" if plain == "READY" else "digits/1@tflite")
    assert str(choose(parse("digits/2@tflite-int8"), tables)) == "digits/2@tflite-int8"
    if plain != "READY":
        with pytest.raises(VersionNotReady, match=f"^digits/2@tflite is {plain}$"):
            choose(parse("digits/2"), tables)


@pytest.mark.parametrize("plain", [{}, {"v2_tflite": "DRAINING"}, {"v2_tflite": "UNLOADED"}])
def test_a_version_that_is_nothing_but_quantized_answers(plain: dict[str, str]) -> None:
    tables = table(v1_tflite="READY", **plain, **{"v2_tflite-int8": "READY", "v2_onnxruntime-int8": "READY"})
    assert str(choose(Target("digits"), tables)) == "digits/2@onnxruntime-int8"


def test_a_variant_that_model_toml_names_has_its_place_among_the_others() -> None:
    (of,) = table(v1_tflite="READY", **{"v1_tflite-int8": "READY"}).values()
    tables = {"digits": ModelTable("digits", ("tflite-int8", "tflite"), {}, of.standings)}
    assert str(choose(Target("digits"), tables)) == "digits/1@tflite-int8"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("digits/2", "digits/2@onnxruntime is FAILED: no graph; digits/2@tflite is LOADING"),
        ("digits/2@tflite", "digits/2@tflite is LOADING"),
        ("digits:canary", "digits/2@onnxruntime is FAILED: no graph; digits/2@tflite is LOADING"),
        ("digits@tfserving", "digits/3@tfserving is FOUND: its files are still changing"),
    ],
)
def test_what_is_pinned_and_not_ready_is_an_error_and_never_another_s_answer(target: str, says: str) -> None:
    tables = table(
        {"canary": 2},
        v1_onnxruntime="READY",
        v1_tflite="READY",
        v2_onnxruntime="FAILED: no graph",
        v2_tflite="LOADING",
        v3_tfserving="FOUND: its files are still changing",
    )
    with pytest.raises(VersionNotReady) as raised:
        choose(parse(target), tables)
    assert str(raised.value) == says


def test_a_stable_version_that_failed_is_not_replaced_by_a_newer_one() -> None:
    tables = table({"stable": 1}, v1_onnxruntime="FAILED: no graph", v2_onnxruntime="READY")
    with pytest.raises(VersionNotReady, match="digits/1@onnxruntime is FAILED: no graph"):
        choose(Target("digits"), tables)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("digit", "model 'digit' is not in the repository; there are: digits"),
        ("digits/3", "model 'digits' has no version 3; there are: 1, 2"),
        ("digits/3@tflite", "model 'digits' has no version 3; there are: 1, 2"),
        ("digits@caffe", "digits/1 has no deployment on 'caffe'; there are: onnxruntime, tflite"),
        ("digits/2@tflite", "digits/2 has no deployment on 'tflite'; there are: onnxruntime"),
        ("digits:beta", "model 'digits' has no label 'beta'; there are: canary, stable"),
        ("digits:canary", "model 'digits' has no version 7; there are: 1, 2"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(target: str, says: str) -> None:
    tables = table({"stable": 1, "canary": 7}, v1_onnxruntime="READY", v1_tflite="READY", v2_onnxruntime="READY")
    with pytest.raises(ModelNotFound) as raised:
        choose(parse(target), tables)
    assert str(raised.value) == says


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({}, "model 'digits' is not in the repository; there are: none"),
        (table(), "model 'digits' has no version that could be served"),
    ],
)
def test_an_empty_repository_and_an_empty_model_are_said(tables: dict[str, ModelTable], says: str) -> None:
    with pytest.raises(ModelNotFound) as raised:
        choose(Target("digits"), tables)
    assert str(raised.value) == says


def test_a_thousand_names_are_not_all_listed() -> None:
    tables = {f"model-{number:04}": table()["digits"] for number in range(1000)}
    with pytest.raises(ModelNotFound, match=r"model-0019 and 980 more$"):
        choose(Target("digits"), tables)


def test_a_label_of_a_megabyte_is_not_echoed_whole() -> None:
    with pytest.raises(ModelNotFound) as raised:
        choose(Target("digits", label="x" * 2**20), table(v1_onnxruntime="READY"))
    assert len(str(raised.value)) < 300
