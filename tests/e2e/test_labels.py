"""Labels over the control API and the command: moved under traffic, without a failed request."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from gateway import cli
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish
from tests.e2e.test_digits import golden

SAMPLES = Path(__file__).resolve().parents[2] / "model_repo" / "digits"
X = np.array([[1, 2]], np.float32)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Both versions of the digits, for ONNX Runtime alone."""
    folder = tmp_path / "repository"
    for version in ("1", "2"):
        (folder / "digits" / version).mkdir(parents=True)
        shutil.copy(SAMPLES / version / "model.onnx", folder / "digits" / version)
    return folder


def put(gateway: RunningGateway, label: str, body: object, model: str = "digits") -> httpx.Response:
    return gateway.client.put(f"{gateway.control}/v1/models/{model}/labels/{label}", json=body)


def labels(gateway: RunningGateway, model: str = "digits") -> object:
    return gateway.client.get(f"{gateway.control}/v1/models/{model}/labels").json()


def torii(gateway: RunningGateway, *words: str) -> tuple[int, str]:
    """The command, in this process: it starts in a moment."""
    done = CliRunner().invoke(cli.app, ["label", *words, "--control", gateway.control])
    return done.exit_code, done.output


class Traffic:
    """Constant requests for the digits, unpinned and by the label `stable`, until it is left."""

    def __init__(self, gateway: RunningGateway) -> None:
        image = golden(1)[0][:1]
        v2 = {"name": "image", "shape": image.shape, "datatype": "FP32", "data": image.ravel().tolist()}
        routes: dict[str, object] = {
            "/v2/models/digits/infer": {"inputs": [v2]},
            "/v1/models/digits/labels/stable:predict": {"instances": image.tolist()},
        }
        self.answers: list[tuple[int, str]] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(gateway.url + path, body)) for path, body in routes.items()
        ]

    def _ask(self, url: str, body: object) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._stop.is_set():
                response = client.post(url, json=body)
                self.answers.append((response.status_code, response.headers.get("torii-served-by", response.text)))

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_no_request_fails_while_a_label_moves_back_and_forth(
    serve: Callable[..., RunningGateway], repository: Path
) -> None:
    gateway = serve(repository)
    assert put(gateway, "stable", {"version": 1}).json() == {"labels": {"stable": 1}}
    with Traffic(gateway) as traffic:
        for version in (2, 1) * 8:
            assert put(gateway, "stable", {"version": version}).status_code == 200
            served = gateway.infer("digits", image=golden(1)[0][:1]).headers["torii-served-by"]
            assert served == f"digits/{version}@onnxruntime", "requests go there when the call has returned"
            sent = len(traffic.answers)
            gateway.until(lambda sent=sent: len(traffic.answers) > sent + 4)
    assert set(traffic.answers) == {(200, "digits/1@onnxruntime"), (200, "digits/2@onnxruntime")}


def test_a_labelled_version_is_kept_by_the_policy_until_no_label_names_it(
    serve: Callable[..., RunningGateway], repository: Path
) -> None:
    later = repository.parent / "2"
    (repository / "digits" / "2").rename(later)
    (repository / "digits" / "model.toml").write_text('versions = "latest:1"')
    gateway = serve(repository)
    put(gateway, "stable", {"version": 1})
    with Traffic(gateway) as traffic:
        later.rename(repository / "digits" / "2")
        gateway.until(lambda: gateway.state("digits/2@onnxruntime") == "READY")
        assert gateway.state("digits/1@onnxruntime") == "READY"
        assert {answer for _, answer in traffic.answers} == {"digits/1@onnxruntime"}
        put(gateway, "stable", {"version": 2})
        gateway.until(lambda: gateway.state("digits/1@onnxruntime") is None)
    assert {status for status, _ in traffic.answers} == {200}
    gateway.stop()
    (repository / "digits" / "labels.toml").write_text("stable = 1\n")
    again = serve(repository)
    assert again.infer("digits", image=golden(1)[0][:1]).headers["torii-served-by"] == "digits/1@onnxruntime"


def test_what_cannot_be_labelled_is_refused_with_what_is_there(
    serve: Callable[..., RunningGateway], repository: Path
) -> None:
    publish(repository, "digits", 3, {"model.onnx": b"no model"})
    gateway = serve(repository)
    answers = {
        404: [put(gateway, "stable", {"version": 9}), put(gateway, "stable", {"version": 1}, "nothing")],
        409: [put(gateway, "stable", {"version": 3})],
        400: [
            put(gateway, "Stable", {"version": 1}),
            *(put(gateway, "stable", body) for body in ({}, [], None, {"version": "1"}, {"version": 0})),
            *(put(gateway, "stable", body) for body in ({"version": True}, {"version": 1, "force": True})),
        ],
        413: [put(gateway, "stable", {"version": 1, "filler": "x" * 2**16})],
    }
    for status, responses in answers.items():
        assert [(each.status_code, each.text) for each in responses if each.status_code != status] == []
    assert answers[404][0].json() == {"error": "model 'digits' has no version 9; there are: 1, 2, 3"}
    assert answers[409][0].json()["error"].startswith("digits/3@onnxruntime is FAILED: ")
    assert labels(gateway) == {"labels": {}}
    (repository / "digits" / "labels.toml").write_text("stable = ")
    wrong = put(gateway, "stable", {"version": 1})
    assert (wrong.status_code, wrong.json()["error"].partition(": not TOML")[0]) == (403, "digits/labels.toml")
    assert (repository / "digits" / "labels.toml").read_text() == "stable = "
    gone = gateway.client.get(f"{gateway.control}/v1/models/nothing/labels")
    assert (gone.status_code, list(gone.json())) == (404, ["error"])


def test_the_command_lists_sets_moves_and_removes(serve: Callable[..., RunningGateway], tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    for number in (1, 2):
        publish(repository, "add", number, {"model.onnx": add_model(number)})
    gateway = serve(repository)
    assert torii(gateway, "add") == (0, "add has no labels\n")
    assert torii(gateway, "add", "stable", "2") == (0, "stable = 2\n")
    assert torii(gateway, "add", "canary", "2") == (0, "canary = 2\nstable = 2\n")
    assert torii(gateway, "add", "stable", "1") == (0, "canary = 2\nstable = 1\n")
    assert gateway.outputs("add", x=X)["y"].tolist() == [[2, 3]]
    assert torii(gateway, "add", "canary", "--remove") == (0, "stable = 1\n")
    assert (repository / "add" / "labels.toml").read_text() == "stable = 1\n"
    for words, text in [
        (["add", "stable", "7"], "404 model 'add' has no version 7; there are: 1, 2"),
        (["add", "canary", "--remove"], "404 model 'add' has no label 'canary'; there are: stable"),
        (["other"], "404 model 'other' is not in the repository; there are: add"),
        (["add", "stable"], "expected MODEL, MODEL LABEL VERSION, or MODEL LABEL --remove"),
        (["add", "stable", "1", "--remove"], "expected MODEL"),
        (["add", "--remove"], "expected MODEL"),
        (["../v1/status", "stable", "1"], "404"),
    ]:
        code, output = torii(gateway, *words)
        assert (code, text in output) == (1, True), output
    shown = " ".join(CliRunner().invoke(cli.app, ["label", "--help"]).output.split())
    assert "torii label digits canary --remove" in shown
