"""What the device tells of its models: kept until the server has it, however long it was offline."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any, Final

from torii_edge.durable import replace_file
from torii_edge.errors import Offline
from torii_edge.limits import Limits
from torii_edge.self_check import Checked
from torii_edge.store import Release
from torii_edge.transport import PATIENT_ERRORS, Server

_PATH: Final = "/edge/v1/reports"
_MOST_WAITING: Final = 64
_DETAIL: Final = 300


class Outbox:
    """The reports that wait in a file. The server counts each (id, target, kind) once: one may be sent twice."""

    def __init__(self, file: Path, device_id: str) -> None:
        self._file = file
        self._id = device_id

    def checked(self, release: Release, checked: Checked) -> None:
        """A self-check came to its end."""
        self._put(release, "self_check", passed=checked.passed, detail=checked.reason)
        if checked.latency_ms:
            self._put(release, "latency", latency_ms=list(checked.latency_ms))

    def failed(self, release: Release, reason: str) -> None:
        """A model could not be installed, or no longer be loaded."""
        self._put(release, "failed", passed=False, detail=reason)

    def installed(self, release: Release) -> None:
        """A model is in use; told once, however often it is said here."""
        if self._read()["told"] != release.sha256:
            self._put(release, "installed", told=release.sha256, passed=True)

    @property
    def waiting(self) -> int:
        """How many reports wait."""
        return len(self._read()["waiting"])

    def send(self, server: Server, limits: Limits) -> None:
        """Send what waits; it stays where the server cannot take it now."""
        kept = self._read()
        if not kept["waiting"]:
            return
        body = json.dumps({"reports": kept["waiting"]}).encode()
        headers = {"Content-Type": "application/json"}
        with (
            contextlib.suppress(Offline, OSError),
            server.ask("POST", _PATH, limits.patience_s, headers, body) as answer,
        ):
            answer.body(limits.answer_bytes)
            if answer.status < 500 and answer.status not in PATIENT_ERRORS:
                self._write({**kept, "waiting": []})

    def _put(self, release: Release, kind: str, told: str | None = None, **facts: Any) -> None:
        kept = self._read()
        report = {
            "id": self._id,
            "model": release.model,
            "channel": release.channel,
            "version": release.version,
            "target": release.target,
            "kind": kind,
            "at": round(time.time(), 3),
            **{name: value[:_DETAIL] if isinstance(value, str) else value for name, value in facts.items()},
        }
        key = (release.target, kind)
        waiting = [each for each in kept["waiting"] if (each.get("target"), each.get("kind")) != key]
        self._write({"told": told or kept["told"], "waiting": [*waiting, report][-_MOST_WAITING:]})

    def _read(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            kept = json.loads(self._file.read_bytes())
            return {"told": kept["told"], "waiting": [dict(each) for each in kept["waiting"]]}
        return {"told": None, "waiting": []}

    def _write(self, kept: dict[str, Any]) -> None:
        replace_file(self._file, json.dumps(kept).encode())
