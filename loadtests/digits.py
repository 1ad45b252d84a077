"""The payload of the load tests: the sample images of digits, made into V2 requests once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

DEPLOYMENTS = (
    "digits/1@onnxruntime",
    "digits/1@tflite",
    "digits/1@tfserving",
    "digits/1@torchserve",
    "digits/2@onnxruntime",
    "digits/2@torchserve",
)


def request_bodies(images: Path) -> tuple[bytes, ...]:
    """A V2 JSON body for each image of a folder: FP32 [1, 8, 8], pixels 0..255."""
    files = sorted(images.glob("*.png"))
    if not files:
        raise FileNotFoundError(f"no images in {images}")
    return tuple(_body(file) for file in files)


def _body(file: Path) -> bytes:
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("L").resize((8, 8), Image.Resampling.BOX), np.float32)
    tensor = {"name": "image", "shape": [1, 8, 8], "datatype": "FP32", "data": pixels.ravel().tolist()}
    return json.dumps({"inputs": [tensor]}).encode()


def url_path(deployment: str) -> str:
    """Where a deployment (MODEL/VERSION@BACKEND) takes V2 requests."""
    model, _, rest = deployment.partition("/")
    version, _, backend = rest.partition("@")
    return f"/v2/models/{model}@{backend}/versions/{version}/infer"
