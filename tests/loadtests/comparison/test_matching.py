from __future__ import annotations

from typing import Any

import pytest

from loadtests.comparison.matching import NotComparable, Source, between, within
from loadtests.results.schema import Result
from tests.loadtests.invented import DIGEST, made_machine, made_result, made_row

OTHER = "f" * 64


def plain_result(**changes: Any) -> Result:
    return made_result([made_row()], **changes)


@pytest.mark.parametrize(
    ("after", "named"),
    [
        (
            plain_result(models={"digits/1": {"model.tflite": OTHER}}),
            "different models: model.tflite of digits/1 has SHA-256 f{15}… and 0{15}…",
        ),
        (plain_result(models={"mnist/1": {"model.tflite": DIGEST}}), "different models: mnist/1 and digits/1"),
        (plain_result(name="open"), "scenario is open and frameworks"),
        (plain_result(kind="load"), "kind is load and frameworks"),
        (plain_result(scenario={"levels": [16], "rounds": 3}), r"levels is \[16\] and \[8\]"),
        (plain_result(scenario={"levels": [8], "warm_up": 9}), "warm_up is 9 and not there"),
        (made_result([made_row(payload="image")]), "different payloads: image and digits"),
        (made_result([made_row("mnist/1@tflite")]), "no row was measured on both sides"),
        (made_result([]), "no row was measured on both sides"),
        (made_result([made_row(status="not run", why="no GPU")]), "not run: no GPU"),
    ],
)
def test_results_of_different_things_are_refused_and_the_difference_is_named(after: Result, named: str) -> None:
    with pytest.raises(NotComparable, match=named):
        between(Source("before.json", plain_result()), [Source("after.json", after)])


@pytest.mark.parametrize(
    ("after", "differs"),
    [
        (plain_result(), ()),
        (plain_result(scenario={"levels": [8], "rounds": 9, "seconds": 2}), ()),
        (plain_result(machine=made_machine("H100-16c")), ("machine: EPYC-2c-8GB → H100-16c",)),
        (plain_result(git={"revision": "1" * 40, "modified": True}), ("revision: unknown → 1111111111 with changes",)),
        (made_result([made_row(hardware="CUDA")]), ("hardware: as served → CUDA",)),
        (made_result([made_row("digits/1@onnxruntime")]), ("deployment: digits/1@tflite → digits/1@onnxruntime",)),
        (made_result([made_row("digits/2@tflite")]), ("deployment: digits/1@tflite → digits/2@tflite",)),
        (made_result([made_row(dialect="v2-grpc")]), ("dialect: v2-json → v2-grpc",)),
        (made_result([made_row(settings={"threads": 2})]), ("threads: not set → 2",)),
    ],
)
def test_what_may_differ_is_compared_and_named(after: Result, differs: tuple[str, ...]) -> None:
    (pair,) = between(Source("before.json", plain_result()), [Source("after.json", after)]).pairs

    assert pair.differs == differs


def test_of_many_rows_each_is_compared_with_its_own() -> None:
    before = made_result([made_row("digits/1@tflite"), made_row("digits/1@torch"), made_row("digits/1@tensorflow")])
    after = made_result([made_row("digits/1@torch"), made_row("digits/1@tflite", status="failed", why="it died")])

    matched = between(Source("before.json", before), [Source("after.json", after)])

    assert [pair.theirs.row.deployment for pair in matched.pairs] == ["digits/1@torch"]
    assert matched.lost == ("digits/1@tflite · v2-json · as served · digits in after.json: failed: it died",)
    alone = "digits/1@tensorflow · v2-json · as served · digits in before.json has no counterpart in after.json"
    assert matched.alone == (alone,)


def test_a_row_that_could_be_compared_with_two_is_compared_with_none() -> None:
    before = made_result([made_row("digits/1@tflite"), made_row("digits/1@torch")])

    with pytest.raises(NotComparable, match="has no counterpart"):
        between(Source("a.json", before), [Source("b.json", made_result([made_row("digits/1@onnxruntime")]))])


def test_rows_of_one_result_are_compared_with_the_first_of_their_payload() -> None:
    names = [("digits/1@x", "digits"), ("digits/1@x", "many"), ("digits/1@y", "many"), ("digits/1@y", "digits")]
    result = made_result([made_row(name, payload=payload) for name, payload in names])

    pairs = within(Source("a.json", result)).pairs

    assert [(pair.theirs.row.payload, pair.ours.row.deployment) for pair in pairs] == [
        ("many", "digits/1@y"),
        ("digits", "digits/1@y"),
    ]


def test_rows_of_different_models_are_not_compared() -> None:
    result = made_result([made_row("digits/1@x"), made_row("mnist/1@x")])

    with pytest.raises(NotComparable, match="rows of different models: digits, mnist"):
        within(Source("a.json", result))
