"""Which backends there are, and what each is told of the settings."""

from __future__ import annotations

from pathlib import Path

from adapters.base import Adapter, OnDeath
from adapters.tfserving.adapter import TfServingAdapter
from adapters.torchserve.adapter import TorchServeAdapter
from adapters.torchserve.address import TorchServeAddress
from adapters.worker.adapter import ONNX_RUNTIME, TFLITE, WorkerAdapter
from gateway.config import Settings, TorchServeSettings

FOLDERS = ("tfserving", "torchserve")
"""Folders that backends expect inside theirs."""


def build_adapters(settings: Settings, folder: Path, on_death: OnDeath) -> dict[str, Adapter]:
    """Every backend's adapter, the preferred one first. Starts nothing; `folder` is private, with a short path."""
    return {
        "onnxruntime": WorkerAdapter(ONNX_RUNTIME, folder, on_death),
        "tflite": WorkerAdapter(TFLITE, folder, on_death),
        "tfserving": TfServingAdapter(
            folder / "tfserving",
            on_death,
            endpoint=settings.tfserving.endpoint,
            manage=settings.tfserving.manage,
            load_limit_s=settings.load_timeout_s,
        ),
        "torchserve": TorchServeAdapter(
            folder / "torchserve", on_death, endpoint=_address(settings.torchserve), allow_code=settings.allow_code
        ),
    }


def _address(settings: TorchServeSettings) -> TorchServeAddress | None:
    if not settings.inference_url or not settings.management_url:
        return None
    return TorchServeAddress(
        settings.inference_url,
        settings.management_url,
        settings.token,
        settings.model_store,
        settings.management_token,
    )
