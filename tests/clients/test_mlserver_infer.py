"""`mlserver infer`, unmodified: a file with one request a line in, one with an answer a line out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.clients.environments import ROOT, program
from tests.e2e.gateway import RunningGateway


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="one request at a time"),
        pytest.param(("--batch-size", "5", "--workers", "3"), id="rows joined by the client"),
        pytest.param(("--binary-data",), id="binary"),
    ],
)
def test_every_line_of_the_file_gets_its_own_right_answer(
    digits: RunningGateway, tmp_path: Path, options: tuple[str, ...]
) -> None:
    golden = np.load(ROOT / "model_repo/digits/1/golden.npz")
    images, probabilities = golden["inputs/image"], golden["outputs/probabilities"]
    given, answers = tmp_path / "input.txt", tmp_path / "output.txt"
    given.write_text("".join(_line(number, image) for number, image in enumerate(images)))
    done = subprocess.run(
        [
            *(program("mlserver", "mlserver"), "infer", "--url", digits.url.removeprefix("http://")),
            *("--model-name", "digits", "--input-data-path", given, "--output-data-path", answers, *options),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    assert all("outputs" in line for line in lines), (lines, done.stderr[-2000:])
    got = {line["id"]: int(np.argmax(line["outputs"][0]["data"])) for line in lines}
    assert got == {f"line {number}": int(row.argmax()) for number, row in enumerate(probabilities)}


def _line(number: int, image: np.ndarray) -> str:
    tensor = {"name": "image", "shape": [1, 8, 8], "datatype": "FP32", "data": image.ravel().tolist()}
    return json.dumps({"id": f"line {number}", "inputs": [tensor]}) + "\n"
