"""Every dialect of the load tests against a real gateway, for every way to name a deployment."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from loadtests.dialects import DIALECTS, Dialect, WrongAnswer, probe
from loadtests.engine.plan import Target
from tests.e2e.gateway import RunningGateway
from tests.e2e.test_digits import golden

SERVED_BY = {
    "digits": "digits/2@onnxruntime",
    "digits/1": "digits/1@onnxruntime",
    "digits@tflite": "digits/1@tflite",
    "digits/1@torchserve": "digits/1@torchserve",
    "digits/1@tfserving": "digits/1@tfserving",
}


def target(gateway: RunningGateway, dialect: Dialect) -> Target:
    port = gateway.grpc.rpartition(":")[2] if dialect.protocol == "grpc" else urlsplit(gateway.url).port
    return Target("127.0.0.1", int(port or 0), dialect.protocol)


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_gets_the_models_answer_from_the_deployment_that_it_names(
    digits: RunningGateway, name: str
) -> None:
    dialect = DIALECTS[name]
    for deployment, served_by in SERVED_BY.items():
        images, probabilities = golden(int(served_by.partition("/")[2][0]))
        reply = probe(target(digits, dialect), dialect.request(deployment, {"image": images[:3]}))
        (outputs,) = dialect.outputs(reply).values()

        assert reply.served_by == served_by
        assert np.allclose(outputs, probabilities[:3], atol=1e-4)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_refusal_is_told_in_the_gateways_words(digits: RunningGateway, name: str) -> None:
    dialect = DIALECTS[name]
    for deployment, inputs in (
        ("nothing/1", np.zeros((1, 8, 8), np.float32)),
        ("digits", np.zeros((1, 9), np.float32)),
    ):
        reply: Any = probe(target(digits, dialect), dialect.request(deployment, {"image": inputs}))
        with pytest.raises(WrongAnswer, match=r"nothing|image|shape"):
            dialect.outputs(reply)
