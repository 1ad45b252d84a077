"""The KServe SDK's inference clients, unmodified. The cases are in scripts/kserve_*.py."""

from __future__ import annotations

import pytest

from tests.clients.conftest import Play
from tests.clients.environments import cases, python
from tests.e2e.gateway import RunningGateway


@pytest.mark.parametrize("case", cases("kserve_rest.py"))
def test_kserve_inference_rest_client(play: Play, digits: RunningGateway, case: str) -> None:
    play("kserve_rest.py", python("kserve"), digits, case)


@pytest.mark.parametrize("case", cases("kserve_grpc.py"))
def test_kserve_inference_grpc_client(play: Play, digits: RunningGateway, case: str) -> None:
    play("kserve_grpc.py", python("kserve"), digits, case)
