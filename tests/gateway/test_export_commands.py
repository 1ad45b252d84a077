"""`torii export`, `torii bundle` and `torii doctor`: what people type, read, and do wrong."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from adapters.errors import InvalidInput
from gateway import cli
from gateway.bundles.opening import open_bundle
from gateway.control.errors import add_errors
from gateway.control.exports import add_exports
from gateway.exports.jobs import Exports
from gateway.exports.origin import Origin
from gateway.httpserver import HttpServer
from gateway.ports import listen, url
from tests.e2e.models import add_model
from tests.gateway.exports.engine import FakeEngine

EXPORT = ("export", "m/1", "--to", "tflite", "--quantize", "int8")


def torii(*words: str) -> tuple[int, str]:
    """Run `torii …`: its exit code and what it said, in one line."""
    done = CliRunner().invoke(cli.app, list(words), env={"COLUMNS": "200", "NO_COLOR": "1"})
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with m/1, y = x + 1, in the working folder."""
    folder = tmp_path / "model_repo" / "m" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(add_model(1))
    np.savez(folder / "golden.npz", **{"inputs/x": np.ones((2, 2), np.float32)})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TORII_CONTROL", raising=False)
    return tmp_path / "model_repo"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    engine = FakeEngine()
    monkeypatch.setattr("gateway.terminal.export_steps.convert", engine)
    return engine


def test_an_export_needs_no_gateway_and_says_its_steps_and_what_came_of_it(
    repository: Path, engine: FakeEngine
) -> None:
    code, said = torii(*EXPORT, "--shape", "x=1,2", "--tolerance", "argmax=0.9")
    assert code == 0, said
    assert "onnx → saved_model running onnx saved_model → tflite-int8 publishing" in said
    assert "model.int8.tflite by onnx → saved_model, saved_model → x" in said
    assert "a gateway over this folder serves it as m/1@tflite-int8" in said
    assert "y: largest difference 0, mean 0, cosine 1.000000, best class the same in 100 %" in said
    assert (repository / "m/1/model.int8.tflite").is_file()
    (task,) = engine.tasks
    assert (task.shapes, task.tolerance) == ({"x": (1, 2)}, {"argmax": 0.9})
    assert task.golden == repository / "m/1/golden.npz"


def test_an_export_can_be_read_by_programs(repository: Path, engine: FakeEngine) -> None:
    done = CliRunner().invoke(cli.app, [*EXPORT, "--json"])
    answer = json.loads(done.stdout)
    assert (answer["deployment"], answer["certificate"]["passed"]) == ("m/1@tflite-int8", True)
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("export", "m", "--to", "tflite"), "m: expected MODEL/VERSION, as digits/2"),
        (("export", "../m/1", "--to", "tflite"), "../m/1: expected MODEL/VERSION"),
        (("export", "m/2", "--to", "tflite"), "model 'm' has no version 2; there are: 1"),
        (("export", "n/1", "--to", "tflite"), "model n cannot be read: "),
        (("export", "m/1", "--to", "caffe"), "to: expected one of keras, saved_model"),
        (("export", "m/1", "--to", "ort", "--quantize", "int8"), "quantize: ort is written in fp32, got 'int8'"),
        ((*EXPORT, "--shape", "x"), "--shape 'x': expected INPUT=SIZE"),
        ((*EXPORT, "--shape", "x=1,-1"), "--shape 'x=1,-1': expected INPUT=SIZE"),
        ((*EXPORT, "--tolerance", "argmax=much"), "--tolerance 'argmax=much': expected FIGURE=NUMBER"),
        ((*EXPORT, "--control", "http://127.0.0.1:1"), "the control API does not answer at http://127.0.0.1:1"),
        (("bundle",), "expected MODEL/VERSION with --target, or --check FILE"),
        (("bundle", "m/1"), "expected MODEL/VERSION with --target, or --check FILE"),
        (
            ("bundle", "m/1", "--target", "fridge"),
            "target: expected one of android, ios, browser, linux-arm64, linux-amd64",
        ),
        (("bundle", "m/1", "--target", "android"), "torii export m/1 --to tflite makes one"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(
    repository: Path, engine: FakeEngine, words: tuple[str, ...], says: str
) -> None:
    code, said = torii(*words)
    assert code == 1
    assert says in said
    assert engine.tasks == []


def test_an_export_that_fails_says_why_and_leaves_nothing(repository: Path, engine: FakeEngine) -> None:
    engine.failure = InvalidInput("[layer] 'conv' uses an operator that TFLite lacks")
    code, said = torii(*EXPORT)
    assert (code, said.endswith("error: [layer] 'conv' uses an operator that TFLite lacks")) == (1, True)
    assert {each.name for each in (repository / "m/1").iterdir()} == {"model.onnx", "golden.npz"}


def test_what_is_there_is_replaced_only_when_asked_for(repository: Path, engine: FakeEngine) -> None:
    assert torii(*EXPORT)[0] == 0
    code, said = torii(*EXPORT)
    assert code == 1
    assert "m/1 has a model.int8.tflite already; ask for it to be replaced (--replace)" in said
    assert torii(*EXPORT, "--replace")[0] == 0


class Gateway:
    """The control API's routes for exports behind a socket, with an engine that converts nothing."""

    def __init__(self, repository: Path) -> None:
        self.socket = listen("127.0.0.1", 0, "control_port")
        self.engine = FakeEngine()
        self.exports = Exports(
            lambda model, version: Origin(repository / model / str(version)), lambda: None, self.engine
        )
        self.app = FastAPI()
        add_exports(self.app, self.exports, max_body_bytes=10_000)
        add_errors(self.app)

    async def run(self, *words: str) -> tuple[int, str]:
        return await asyncio.to_thread(torii, *words, "--control", url(self.socket))


@pytest.fixture
async def gateway(repository: Path) -> AsyncIterator[Gateway]:
    gateway = Gateway(repository)
    server = HttpServer(gateway.app, 1.0)
    serving = await server.start()
    await server.accept({1: gateway.socket})
    yield gateway
    await gateway.exports.close()
    await server.stop()
    await serving


async def test_a_gateway_exports_in_the_same_words(gateway: Gateway, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.npz").write_bytes(b"rows")
    code, said = await gateway.run(*EXPORT, "--calibration", "rows.npz", "--shape", "x=1,2")
    assert code == 0, said
    assert "model.int8.tflite by onnx → saved_model, saved_model → x" in said
    assert "serves it as m/1@tflite-int8" in said
    assert (repository / "m/1/model.int8.tflite").is_file()
    assert (gateway.engine.calibrations, gateway.engine.tasks[0].shapes) == ([b"rows"], {"x": (1, 2)})


async def test_a_gateway_s_failure_is_the_command_s(gateway: Gateway, tmp_path: Path) -> None:
    gateway.engine.failure = InvalidInput("no way to tflite")
    code, said = await gateway.run(*EXPORT)
    assert (code, said.endswith("error: m/1: failed: no way to tflite")) == (1, True)
    code, said = await gateway.run(*EXPORT, "--calibration", "missing.npz")
    assert code == 1
    assert "No such file or directory: 'missing.npz'" in said


def test_a_bundle_is_made_and_checked(repository: Path, tmp_path: Path) -> None:
    (repository / "m" / "LICENSE").write_text("do as you like")
    code, said = torii("bundle", "m/1", "--target", "browser", "--min-app", "2.1")
    assert code == 0, said
    assert "m/1 for browser: onnxruntime, fp32" in said
    assert "x FP32 [-1, 2] -> y FP32 [-1, 2]" in said
    assert "2 golden rows" in said
    assert "without a certificate: it was not exported here without labels (labels.txt)" in said
    file = tmp_path / "m-1-browser.zip"
    assert open_bundle(file).manifest.min_app == "2.1"
    done = CliRunner().invoke(cli.app, ["bundle", "--check", str(file), "--json"])
    assert json.loads(done.stdout)["manifest"]["files"].keys() == {"model.onnx", "golden.json", "LICENSE"}
    data = file.read_bytes()
    file.write_bytes(data.replace(b"do as you like", b"do as we like!"))
    code, said = torii("bundle", "--check", str(file))
    assert code == 1
    assert "m-1-browser.zip: " in said
    assert "LICENSE" in said


def test_a_bundle_without_golden_rows_says_what_is_missing(repository: Path, tmp_path: Path) -> None:
    (repository / "m/1/golden.npz").unlink()
    code, said = torii("bundle", "m/1", "--target", "browser")
    assert code == 1
    assert "m/1 has no golden.npz" in said
    code, said = torii("bundle", "m/1", "--target", "browser", "--without-golden")
    assert code == 0
    assert "without golden data: devices cannot check themselves" in said


def test_doctor_says_what_is_here_and_what_to_do_about_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    which = shutil.which
    monkeypatch.setattr("gateway.doctor.shutil.which", lambda name: None if name == "node" else which(name))
    code, said = torii("doctor")
    assert code == 0
    assert "onnxruntime there onnxruntime " in said
    assert "java " in said
    assert "tfjs not made SavedModel to TF.js" in said
    assert "node missing exports to tfjs are run by it: install Node.js" in said
    found: dict[str, Any] = json.loads(CliRunner().invoke(cli.app, ["doctor", "--json"]).stdout)
    assert {each["name"] for each in found["backends"]} == {"onnxruntime", "tflite", "tfserving", "torchserve"}
