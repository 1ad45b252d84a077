"""newman, unmodified: TorchServe's clients as a Postman collection, against the inference and the control port."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.clients.conftest import labelled_gateway
from tests.clients.environments import program

_COLLECTION = Path(__file__).with_name("torchserve.postman_collection.json")


def test_torchserve_s_clients_find_what_they_know(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    newman = program("newman", "newman")
    with labelled_gateway(tmp_path) as gateway:
        done = subprocess.run(
            [
                *(newman, "run", _COLLECTION, "--reporters", "json", "--reporter-json-export", report),
                *("--env-var", f"inference={gateway.url}", "--env-var", f"management={gateway.control}"),
                *("--timeout-request", "20000", "--timeout", "60000"),
            ],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert report.exists(), done.stdout + done.stderr
    run = json.loads(report.read_text())["run"]
    failures = [f"{each['source']['name']}: {each['error']['message']}" for each in run["failures"]]
    assert not failures, "\n".join(failures)
    assert done.returncode == 0, done.stdout + done.stderr
    assert run["stats"]["requests"]["total"] == len(json.loads(_COLLECTION.read_text())["item"])
