"""tritonclient, unmodified: over HTTP and gRPC, blocking and with asyncio. The cases are in scripts/triton_*.py."""

from __future__ import annotations

import pytest

from tests.clients.conftest import Play
from tests.clients.environments import cases, python
from tests.e2e.gateway import RunningGateway


@pytest.mark.parametrize("case", cases("triton_http.py"))
def test_tritonclient_http(play: Play, echoes: RunningGateway, case: str) -> None:
    play("triton_http.py", python("triton"), echoes, case)


@pytest.mark.parametrize("case", cases("triton_http_aio.py"))
def test_tritonclient_http_aio(play: Play, echoes: RunningGateway, case: str) -> None:
    play("triton_http_aio.py", python("triton"), echoes, case)


@pytest.mark.parametrize("case", cases("triton_grpc.py"))
def test_tritonclient_grpc(play: Play, echoes: RunningGateway, case: str) -> None:
    play("triton_grpc.py", python("triton"), echoes, case)


@pytest.mark.parametrize("case", cases("triton_grpc_aio.py"))
def test_tritonclient_grpc_aio(play: Play, echoes: RunningGateway, case: str) -> None:
    play("triton_grpc_aio.py", python("triton"), echoes, case)


@pytest.mark.parametrize("case", cases("triton_closed.py"))
def test_tritonclient_where_model_control_is_closed(play: Play, digits: RunningGateway, case: str) -> None:
    play("triton_closed.py", python("triton"), digits, case)
