"""What every script of this folder ends with: runs its cases against a gateway, one line of JSON for each.

It runs in the environments of the clients, so it stands on the standard library alone.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gateway:
    """Where a gateway answers."""

    url: str
    """of the inference API: http://127.0.0.1:8000"""
    grpc: str
    """host:port of the gRPC API"""
    control: str
    """of the control API: http://127.0.0.1:8002"""

    @property
    def http(self) -> str:
        """host:port of the inference API."""
        return self.url.removeprefix("http://")


def run(names: Mapping[str, Any]) -> None:
    """Run the cases: the script's own public functions, each of one argument, the gateway.

    A case that returns has passed. Output: {"case": "its name", "error": null or a traceback}, as each one ends.
    """
    gateway = Gateway(*sys.argv[1:])  # no options: kserve reads those of the command line when it is imported
    for name, case in names.items():
        if inspect.isfunction(case) and case.__module__ == "__main__" and not name.startswith("_"):
            print_line({"case": name, "error": _error(case, gateway)})


def _error(case: Callable[[Gateway], Any], gateway: Gateway) -> str | None:
    try:
        outcome = case(gateway)
        if inspect.iscoroutine(outcome):
            asyncio.run(outcome)
    except Exception:  # noqa: BLE001  # whatever it is, it is this case's failure and not the next one's
        return traceback.format_exc()
    return None


def print_line(value: Any) -> None:
    """One line of JSON on stdout, at once."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
