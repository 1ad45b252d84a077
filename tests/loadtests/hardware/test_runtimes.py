"""Versions of the runtimes come from this Python, from others, and from programs; what is not there is not named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from loadtests.hardware.commands import said
from loadtests.hardware.runtimes import environment_of, java_version, joined, model_server, runtimes


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('openjdk version "21.0.4" 2024-07-16\nOpenJDK Runtime Environment', "21.0.4"),
        ('java version "1.8.0_412"\n', "1.8.0_412"),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", ""),
        ("", ""),
    ],
)
def test_java_tells_its_version(text: str, version: str) -> None:
    assert java_version(text) == version


def test_the_model_server_tells_its_version() -> None:
    text = "TensorFlow ModelServer: 2.18.0-rc1+dev.sha.0000000\nTensorFlow Library: 2.18.0\n"
    assert model_server(text) == "2.18.0-rc1+dev.sha.0000000"


def test_another_python_s_other_versions_are_named_with_its_environment() -> None:
    ours = {"python": "3.11.7", "onnxruntime": "1.32.0"}
    theirs = {"python": "3.11.7", "onnxruntime": "1.24.1", "onnxruntime-openvino": "1.24.1"}
    assert joined(ours, "openvino", theirs) == {
        "python": "3.11.7",
        "onnxruntime": "1.32.0",
        "onnxruntime (openvino)": "1.24.1",
        "onnxruntime-openvino": "1.24.1",
    }
    assert environment_of(Path(".hardware/openvino/bin/python")) == "openvino"


def test_the_packages_of_this_python_and_of_another_are_found() -> None:
    found = runtimes([Path(sys.executable)], said)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"onnxruntime", "numpy", "torii", "locust"} <= found.keys()
    assert not [name for name in found if "(" in name]


@pytest.mark.parametrize("answer", ["", "Traceback", "[1]", "null", '"x"', "{"])
def test_a_python_that_answers_nonsense_adds_nothing(answer: str) -> None:
    assert runtimes([Path("/nowhere/bin/python")], lambda *_: answer).keys() == runtimes([], lambda *_: "").keys()
