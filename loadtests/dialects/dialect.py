"""What all dialects have in common, and which there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

from numpy.typing import NDArray

from loadtests.dialects.reply import Reply
from loadtests.dialects.tf_serving_grpc import TfServingGrpc
from loadtests.dialects.tf_serving_rest import TfServingRest
from loadtests.dialects.torchserve import TorchServe
from loadtests.dialects.v2_grpc import V2Grpc
from loadtests.dialects.v2_http import V2Binary, V2Json
from loadtests.engine.plan import Request


class Dialect(Protocol):
    """One way to ask for an inference."""

    @property
    def name(self) -> str:
        """As in DIALECTS."""

    @property
    def protocol(self) -> Literal["http/1.1", "grpc"]:
        """What carries it."""

    def request(self, deployment: str, inputs: Mapping[str, NDArray[Any]]) -> Request:
        """A request for a deployment: `digits/1@tflite`, `digits/1`, `digits@tflite` or `digits`.

        `inputs` have the shapes of the model's, batch axis included; BYTES are arrays of Python's bytes.

        Raises:
            ValueError: that is no deployment's name, or the dialect cannot say what an input holds.
        """

    def outputs(self, answer: Reply) -> Mapping[str, NDArray[Any]]:
        """The outputs of an answer; one whose name the dialect leaves out is called "".

        Raises:
            WrongAnswer: the status is not good, or the body is not what the dialect says.
        """


_ALL: Final[tuple[Dialect, ...]] = (V2Json(), V2Binary(), V2Grpc(), TfServingRest(), TfServingGrpc(), TorchServe())

DIALECTS: Final[Mapping[str, Dialect]] = {each.name: each for each in _ALL}
"""By name: v2-json, v2-binary, v2-grpc, tfs-rest, tfs-grpc, torchserve."""
