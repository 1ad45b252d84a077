from __future__ import annotations

import numpy as np
import pytest

from loadtests.crosscheck.__main__ import asked, chosen
from loadtests.crosscheck.asked import Load
from loadtests.crosscheck.scenarios import scenarios
from loadtests.gateways import Gateway
from loadtests.payloads import Payload

GATEWAY = Gateway("127.0.0.1", 8000, 8001, "http://127.0.0.1:8002", None)
SENT = Payload("made up", ({"x": np.ones((1, 2), np.float32)}, {"x": np.zeros((1, 2), np.float32)}))


def test_scenarios_are_chosen_by_words_of_their_names() -> None:
    assert [each.name for each in chosen(scenarios(1000), ["poisson", "JSON"])] == [
        *("V2 JSON, 8 connections", "Poisson, 1000/s", "Poisson, 1000/s, gRPC")
    ]
    assert len(chosen(scenarios(1000), [])) == len(scenarios(1000))


def test_words_that_no_scenario_has_are_refused_with_those_there_are() -> None:
    with pytest.raises(SystemExit, match=r"V2 JSON, 8 connections.*got soak"):
        chosen(scenarios(1000), ["soak"])


def test_a_load_is_asked_with_the_payloads_first_inputs_as_often_as_it_has_rows() -> None:
    found = asked(Load("v2-binary", 1, rows=3), "m/1@onnxruntime", GATEWAY, SENT, 1)

    np.testing.assert_array_equal(found.inputs["x"], np.ones((3, 2)))
    assert found.request.body.endswith(np.ones((3, 2), np.float32).tobytes())
    assert (found.target.port, found.target.protocol) == (8000, "http/1.1")


def test_grpc_goes_to_the_port_of_grpc() -> None:
    found = asked(Load("v2-grpc", 1), "m/1@onnxruntime", GATEWAY, SENT, 1)

    assert (found.target.port, found.target.protocol) == (8001, "grpc")
