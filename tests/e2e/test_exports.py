"""Exports by a running gateway: what comes of one is served beside its source, and none outlives the gateway."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gateway.bundles.bundle import Wanted, bundle
from gateway.bundles.opening import open_bundle
from tests.conftest import ROOT
from tests.e2e.gateway import RunningGateway
from tests.waiting import command


def ask(gateway: RunningGateway, method: str, path: str, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = gateway.client.request(method, gateway.control + path, json=body or None).json()
    return answer


async def test_an_export_is_served_beside_its_source_bundled_and_never_the_default(
    tmp_path: Path, serve: Callable[..., RunningGateway]
) -> None:
    folder = tmp_path / "repository" / "digits" / "1"
    folder.mkdir(parents=True)
    for name in ("model.onnx", "golden.npz"):
        shutil.copy(ROOT / "model_repo" / "digits" / "1" / name, folder)
    gateway = serve(SETTLE_S="0")
    order = {"model": "digits", "version": 1, "to": "onnx", "quantize": "dynamic"}
    job = ask(gateway, "POST", "/v1/exports", **order)
    job = gateway.until(lambda: ended(gateway, job["id"]), 120)
    assert (job["state"], job["error"]) == ("done", None)
    assert (job["deployment"], job["route"]) == ("digits/1@onnxruntime-dynamic", ["onnx → onnx-dynamic"])
    assert job["certificate"]["subject"] == "digits/1"
    gateway.until(lambda: gateway.state("digits/1@onnxruntime-dynamic") == "READY", 60)
    assert gateway.state("digits/1@onnxruntime") == "READY"
    with np.load(folder / "golden.npz") as golden:
        image, right = golden["inputs/image"], golden["outputs/probabilities"]
    answers = {each: gateway.infer(f"digits{each}", image=image) for each in ("", "@onnxruntime-dynamic")}
    assert answers[""].headers["torii-served-by"] == "digits/1@onnxruntime"
    quantized = gateway.outputs("digits@onnxruntime-dynamic", image=image)["probabilities"]
    assert (quantized.argmax(-1) == right.argmax(-1)).all()
    assert (quantized != gateway.outputs("digits", image=image)["probabilities"]).any()

    made = await bundle(Wanted("digits", 1, "browser", "onnxruntime-dynamic"), folder, tmp_path)
    opened = open_bundle(made.path)
    assert opened.manifest.files.keys() >= {"model.dynamic.onnx", "certificate.json", "certificate.html", "golden.json"}
    assert opened.manifest.precision == "dynamic"

    assert ask(gateway, "POST", "/v1/exports", **order)["state"] == "queued"
    again = gateway.until(lambda: ended(gateway, ask(gateway, "GET", "/v1/exports")["exports"][0]["id"]), 60)
    assert again["error"].startswith("digits/1 has a model.dynamic.onnx already")

    running = ask(gateway, "POST", "/v1/exports", **order, replace=True)
    gateway.until(lambda: converting(gateway) or ended(gateway, running["id"]), 60)
    gateway.stop()  # which fails where a process is left behind
    assert running["state"] == "queued"
    assert sorted(each.name for each in folder.iterdir()) == [
        *("certificates", "golden.npz", "model.dynamic.onnx", "model.onnx")
    ]


def converting(gateway: RunningGateway) -> bool:
    """Whether a process of an export runs."""
    return any("adapters.export" in word for each in gateway.children() for word in command(each))


def ended(gateway: RunningGateway, number: str) -> dict[str, Any] | None:
    job = ask(gateway, "GET", f"/v1/exports/{number}")
    return job if job["ended"] else None
