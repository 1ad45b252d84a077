"""`make proof-openapi`: schemathesis sends thousands of requests, good and bad; no answer may be a 500 or a 502."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.clients.environments import ROOT
from tests.clients.openapi import ask
from tests.e2e.gateway import RunningGateway

EXAMPLES, AT_LEAST = 100, 2000


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, RunningGateway.running(ROOT / "model_repo") as gateway:
        gateway.wait_ready(within_s=120)
        report, said = ask(gateway, Path(folder), EXAMPLES, within_s=1200)
    cases = report["test_cases"]
    print(said)
    print(f"{cases['generated']} requests in {report['running_time']:.0f} s, {cases['with_failures']} of them failures")
    return 0 if report["exit_code"] == 0 and cases["generated"] >= AT_LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
