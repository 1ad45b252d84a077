"""Several frontends on the same ports: one dies and nothing else notices; control's word counts on all of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest

from gateway.protocols.protos import message
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish, slow_model, withdraw
from tests.waiting import gone

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shares out connections among processes")

BODY = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Two frontends over two models."""
    repository = tmp_path_factory.mktemp("frontends") / "repository"
    publish(repository, "add", 1, {"model.onnx": add_model(1)})
    publish(repository, "slow", 1, {"model.onnx": slow_model()})
    settings = {"FRONTENDS": "2", "POLL_S": "0.1", "SETTLE_S": "0", "MODEL_CONTROL": "true"}
    with RunningGateway.running(repository, **settings) as running:
        running.wait_ready(within_s=60)
        running.until(lambda: serving(running) == 2)
        yield running


def frontends(gateway: RunningGateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.status()["frontends"]
    return found


def serving(gateway: RunningGateway) -> int:
    return sum(each["state"] == "serving" for each in frontends(gateway))


def infer(url: str, model: str = "add") -> httpx.Response:
    """Over a connection of its own: the kernel chooses the frontend."""
    return httpx.post(f"{url}/v2/models/{model}/infer", json=BODY, timeout=60)


def slowly(rounds: int) -> dict[str, Any]:
    return {"inputs": [{"name": "n", "shape": [1], "datatype": "INT64", "data": [rounds]}]}


def counted(gateway: RunningGateway, model: str) -> int:
    told = gateway.get(f"/v2/models/{model}/stats").json()["model_stats"]
    return sum(each["inference_stats"]["success"]["count"] for each in told)


def call(channel: grpc.Channel, method: str, **fields: Any) -> Any:
    send = channel.unary_unary(
        f"/inference.GRPCInferenceService/{method}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=message(f"inference.{method}Response").FromString,
    )
    return send(message(f"inference.{method}Request")(**fields), timeout=30)


def open_channel(gateway: RunningGateway) -> grpc.Channel:
    return grpc.insecure_channel(gateway.grpc, options=[("grpc.use_local_subchannel_pool", 1)])


class Connection:
    """A keep-alive connection, which stays with one frontend."""

    def __init__(self, gateway: RunningGateway, processes: dict[int, psutil.Process]) -> None:
        self.url = gateway.url
        self.client = httpx.Client(timeout=60)
        response = self.post("/v2/models/add/infer", json=BODY)
        _, port = response.extensions["network_stream"].get_extra_info("client_addr")
        (self.number,) = [
            number
            for number, process in processes.items()
            if any(each.raddr and each.raddr.port == port for each in process.net_connections("tcp"))
        ]

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        return self.client.post(self.url + path, **arguments)

    @classmethod
    def to(cls, gateway: RunningGateway, number: int) -> Connection:
        """One to a certain frontend."""
        processes = {each["number"]: psutil.Process(each["pid"]) for each in frontends(gateway)}
        while (made := cls(gateway, processes)).number != number:
            made.client.close()
        return made


class Traffic:
    """Requests over ever new connections, and over connections that are kept, until it is left."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.answers: Counter[str] = Counter()
        self.broken: list[tuple[bool, str]] = []
        self._url = gateway.url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(kept,)) for kept in (True, True, False, False)]

    def _ask(self, kept: bool) -> None:
        client: httpx.Client | None = None
        while not self._stop.is_set():
            client = client or httpx.Client(timeout=60)
            try:
                response = client.post(f"{self._url}/v2/models/add/infer", json=BODY)
                self.answers[f"{response.status_code} {response.text if response.is_error else ''}"] += 1
            except httpx.TransportError as error:
                self.broken.append((kept, repr(error)))
                client = None
            if not kept and client is not None:
                client.close()
                client = None

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_connections_are_shared_out_and_what_each_frontend_did_adds_up(gateway: RunningGateway) -> None:
    requests, rows = {each["number"]: each["requests"] for each in frontends(gateway)}, counted(gateway, "add")
    for _ in range(40):
        assert infer(gateway.url).json()["outputs"][0]["data"] == [2, 3]
    after = {each["number"]: each["requests"] - requests[each["number"]] for each in frontends(gateway)}
    assert sum(after.values()) == 40
    assert min(after.values()) > 0
    assert counted(gateway, "add") == rows + 40
    own = gateway.process.pid
    assert own not in {each["pid"] for each in frontends(gateway)}


def test_grpc_calls_are_shared_out_too(gateway: RunningGateway) -> None:
    before = {each["number"]: each["requests"] for each in frontends(gateway)}
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "contents": {"fp32_contents": [1, 2]}}
    for _ in range(40):
        with open_channel(gateway) as channel:
            answer = call(channel, "ModelInfer", model_name="add", inputs=[tensor])
            assert list(answer.outputs[0].contents.fp32_contents) == [2, 3]
    after = {each["number"]: each["requests"] - before[each["number"]] for each in frontends(gateway)}
    assert sum(after.values()) == 40
    assert min(after.values()) > 0
    with open_channel(gateway) as channel:
        (told,) = call(channel, "ModelStatistics", name="add").model_stats
        assert call(channel, "ServerReady").ready
    assert told.inference_stats.success.count == counted(gateway, "add")


def test_a_frontend_that_is_killed_costs_its_own_connections_and_nothing_else(gateway: RunningGateway) -> None:
    """Models are reloaded, labelled and unloaded meanwhile."""
    publish(gateway.repository, "add", 2, {"model.onnx": add_model(1)})
    gateway.until(lambda: gateway.state("add/2@onnxruntime") == "READY")
    workers = {name: each["pid"] for name, each in gateway.deployments().items()}
    victim, other = frontends(gateway)
    kept = Connection.to(gateway, other["number"])
    with Traffic(gateway) as traffic:
        gateway.until(lambda: sum(traffic.answers.values()) > 20)
        os.kill(victim["pid"], signal.SIGKILL)
        for version in (1, 2, 1):
            label = gateway.client.put(f"{gateway.control}/v1/models/add/labels/stable", json={"version": version})
            assert label.json() == {"labels": {"stable": version}}
            assert infer(gateway.url).headers["torii-served-by"] == f"add/{version}@onnxruntime"
        assert gateway.client.post(f"{gateway.control}/v2/repository/models/slow/unload").status_code == 200
        assert infer(gateway.url, "slow").status_code == 503
        gateway.until(lambda: serving(gateway) == 2)
        sent = sum(traffic.answers.values())
        gateway.until(lambda: sum(traffic.answers.values()) > sent + 20)
    assert set(traffic.answers) == {"200 "}
    assert len(traffic.broken) <= 4, "at most one for each connection that was open"
    assert kept.post("/v2/models/add/infer", json=BODY).status_code == 200
    successor, same = frontends(gateway)
    assert (same["pid"], same["deaths"]) == (other["pid"], 0)
    assert (successor["pid"] != victim["pid"], successor["deaths"]) == (True, 1)
    assert {name: each["pid"] for name, each in gateway.deployments().items() if each["pid"]} == {
        name: pid for name, pid in workers.items() if name.startswith("add/")
    }
    back = Connection.to(gateway, victim["number"])
    assert back.post("/v2/models/slow/infer", json=BODY).status_code == 503, "it knows it all"
    assert gateway.client.post(f"{gateway.control}/v2/repository/models/slow/load").status_code == 200


def test_what_is_asked_of_models_on_one_frontend_counts_on_all(gateway: RunningGateway) -> None:
    both = [Connection.to(gateway, number) for number in (1, 2)]
    for one, other in (both, both[::-1]):
        assert one.post("/v2/repository/models/add/unload").status_code == 200
        assert [each.post("/v2/models/add/infer", json=BODY).status_code for each in both] == [503, 503]
        states = {each["state"] for each in other.post("/v2/repository/index").json() if each["name"] == "add"}
        assert states <= {"UNAVAILABLE", "UNLOADING"}
        assert other.post("/v2/repository/models/add/load").status_code == 200
        assert [each.post("/v2/models/add/infer", json=BODY).status_code for each in both] == [200, 200]
    refused = one.post("/v2/repository/models/add/load", json={"parameters": {"file:1/model.onnx": "AA=="}})
    assert (refused.status_code, "model_upload" in refused.json()["error"]) == (403, True)
    assert one.post("/v2/repository/models/nothing/load").status_code == 404


def test_a_request_on_one_frontend_keeps_its_worker_while_the_other_has_none(gateway: RunningGateway) -> None:
    publish(gateway.repository, "slow", 2, {"model.onnx": add_model(5)})
    gateway.until(lambda: gateway.state("slow/2@onnxruntime") == "READY")
    pid = gateway.deployments()["slow/1@onnxruntime"]["pid"]
    connection = Connection.to(gateway, 1)
    answers: list[int] = []
    asking = threading.Thread(
        target=lambda: answers.append(connection.post("/v2/models/slow/versions/1/infer", json=slowly(800)).status_code)
    )
    asking.start()
    gateway.until(lambda: psutil.Process(pid).cpu_percent(0.02) > 20)
    withdraw(gateway.repository, "slow", 1)
    gateway.until(lambda: gateway.state("slow/1@onnxruntime") == "DRAINING")
    assert infer(gateway.url, "slow").json()["outputs"][0]["data"] == [6, 7]
    assert (answers, gone(pid)) == ([], False)
    asking.join(30)
    assert answers == [200]
    gateway.until(lambda: gateway.state("slow/1@onnxruntime") is None and gone(pid))


def test_a_second_gateway_never_shares_the_ports(gateway: RunningGateway) -> None:
    for flag, address in (("--http-port", gateway.url), ("--grpc-port", gateway.grpc)):
        port = address.rpartition(":")[2]
        second = subprocess.run(
            [
                *(sys.executable, "-m", "gateway", "serve", str(gateway.repository), "--frontends", "2"),
                *("--http-port", "0", "--grpc-port", "0", "--control-port", "0", flag, port),
            ],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (second.returncode, f"port {port}" in second.stderr, flag in second.stderr) == (1, True, True)


def test_the_status_and_the_log_tell_of_frontends(gateway: RunningGateway) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "gateway", "status", "--control", gateway.control],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    ).stdout
    for each in frontends(gateway):
        assert each["rss_bytes"] > 2**20
        assert f"frontend {each['number']}: serving, pid {each['pid']}" in shown
    bad = httpx.post(f"{gateway.url}/v2/models/add/infer", content=json.dumps(BODY)[:-1], timeout=30)
    assert bad.status_code == 400
    assert "frontend 1 died (killed by SIGKILL)" in gateway.log.read_text()


def in_flight(gateway: RunningGateway) -> float:
    """Requests that run, on all frontends."""
    lines = gateway.client.get(f"{gateway.control}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("torii_requests_in_flight{"))


def test_a_stop_answers_what_runs_on_every_frontend(serve: Callable[..., RunningGateway], tmp_path: Path) -> None:
    for number in (1, 2):
        publish(tmp_path / "repository", f"slow{number}", 1, {"model.onnx": slow_model()})
    publish(tmp_path / "repository", "add", 1, {"model.onnx": add_model(1)})
    gateway = serve(FRONTENDS="2")
    gateway.until(lambda: serving(gateway) == 2)
    children = gateway.children()
    answers: list[int] = []
    asked: list[threading.Thread] = []
    for number in (1, 2):
        connection, path = Connection.to(gateway, number), f"/v2/models/slow{number}/infer"
        asking = threading.Thread(
            target=lambda at=connection, path=path: answers.append(at.post(path, json=slowly(1500)).status_code)
        )
        asking.start()
        asked.append(asking)
    gateway.until(lambda: in_flight(gateway) == 2)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(30) == 0
    gateway.client.close()
    for each in asked:
        each.join(30)
    assert answers == [200, 200]
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_nobody_outlives_a_control_process_that_was_killed(serve: Callable[..., RunningGateway]) -> None:
    gateway = serve(FRONTENDS="2")
    children = gateway.children()
    assert len(children) == 2
    gateway.process.kill()
    gateway.process.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    with pytest.raises(httpx.ConnectError):
        httpx.get(gateway.url)
