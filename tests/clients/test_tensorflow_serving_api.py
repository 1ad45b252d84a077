"""tensorflow-serving-api's own stubs in a process of their own. The cases are in scripts/tfserving_grpc.py."""

from __future__ import annotations

import pytest

from tests.clients.conftest import Play
from tests.clients.environments import cases, python
from tests.e2e.gateway import RunningGateway


@pytest.mark.parametrize("case", cases("tfserving_grpc.py"))
def test_tensorflow_serving_api(play: Play, labelled: RunningGateway, case: str) -> None:
    play("tfserving_grpc.py", python("tensorflow"), labelled, case)
