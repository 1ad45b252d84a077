"""schemathesis over the OpenAPI document that a running gateway gives."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.clients.environments import program
from tests.e2e.gateway import RunningGateway

_CONFIG = Path(__file__).with_name("schemathesis.toml")


def ask(gateway: RunningGateway, folder: Path, examples: int, within_s: float) -> tuple[dict[str, Any], str]:
    """Have schemathesis ask: its report (JSON, as it writes it) and what it printed.

    Args:
        gateway: that has the sample models
        folder: for the report
        examples: for each operation, at most; more requests come from the document's edge cases
        within_s: then it is ended, and TimeoutExpired raised
    """
    report = folder / "report.json"
    done = subprocess.run(
        [
            *(program("schemathesis", "schemathesis"), "--config-file", _CONFIG),
            *("run", f"{gateway.url}/openapi.json", "--checks", "not_a_server_error", "--no-color"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", str(examples)),
            *("--report", "json", "--report-json-path", report),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    said = done.stdout + done.stderr
    assert report.exists(), said
    return json.loads(report.read_text()), said
