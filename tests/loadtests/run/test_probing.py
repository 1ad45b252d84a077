from __future__ import annotations

import numpy as np

from loadtests.run.probing import differs

_RIGHT = {"probabilities": np.array([[0.1, 0.7, 0.2]], np.float32)}


def test_an_answer_within_the_tolerance_is_right() -> None:
    assert differs({"probabilities": [[0.1001, 0.6999, 0.2]]}, _RIGHT, 0.01, "golden.npz") == ""  # type: ignore[dict-item]
    assert differs({"": np.array([0.1, 0.7, 0.2])}, _RIGHT, 0.01, "golden.npz") == ""


def test_a_wrong_answer_is_told_with_its_distance() -> None:
    told = differs({"probabilities": np.array([[0.7, 0.1, 0.2]])}, _RIGHT, 0.01, "digits/1@onnxruntime")
    assert told.startswith("wrong answer: output probabilities is 0.6 off, more than 1% of the range 0.6,")
    assert "of digits/1@onnxruntime" in told
    assert "shape [1, 2]" in differs({"probabilities": np.array([[0.7, 0.1]])}, _RIGHT, 0.01, "it")
    assert "off" in differs({"probabilities": np.array([[np.nan, 0.7, 0.2]])}, _RIGHT, 0.01, "it")


def test_other_outputs_than_the_reference_has_are_wrong() -> None:
    told = differs({"a": np.zeros(1), "b": np.zeros(1)}, _RIGHT, 0.01, "golden.npz")
    assert told == "outputs a, b; golden.npz has probabilities"


def test_texts_have_to_be_equal() -> None:
    right = {"label": np.array([b"seven"], object)}
    assert differs({"label": np.array([b"seven"], object)}, right, 0.01, "it") == ""
    assert differs({"label": np.array([b"eight"], object)}, right, 0.01, "it") != ""
