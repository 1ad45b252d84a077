"""What the embedded server calls itself, without loading TensorFlow."""

from __future__ import annotations

from importlib import metadata

_PACKAGES = ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-macos")


def describe_embedded() -> str:
    """Never the real server's name: who compares measurements must know what was measured."""
    return f"embedded TF Serving (TensorFlow {installed_version()})"


def installed_version() -> str:
    """The installed TensorFlow's version, under whichever name its package has."""
    for package in _PACKAGES:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return "of unknown version"
