"""The main job: one digit image, the same answer from every framework."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.e2e.gateway import RunningGateway

ROOT = Path(__file__).resolve().parents[2]
VERSION_1 = ["onnxruntime", "tflite", "tfserving", "torchserve"]
DEPLOYMENTS = [*(f"digits/1@{backend}" for backend in VERSION_1), "digits/2@onnxruntime", "digits/2@torchserve"]


def path_of(deployment: str) -> str:
    model, _, rest = deployment.partition("/")
    version, _, backend = rest.partition("@")
    return f"{model}@{backend}/versions/{version}"


def golden(version: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(ROOT / "model_repo" / "digits" / str(version) / "golden.npz") as arrays:
        return arrays["inputs/image"], arrays["outputs/probabilities"]


def test_all_deployments_of_the_sample_models_are_ready(digits: RunningGateway) -> None:
    states = {name: (each["state"], each["reason"]) for name, each in digits.deployments().items()}
    assert states == dict.fromkeys(DEPLOYMENTS, ("READY", ""))


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_golden_inputs_give_the_golden_outputs(digits: RunningGateway, deployment: str) -> None:
    images, probabilities = golden(int(deployment[7]))
    answer = digits.outputs(path_of(deployment), image=images)["probabilities"]
    np.testing.assert_allclose(answer, probabilities, atol=1e-4)


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_the_answer_says_who_gave_it(digits: RunningGateway, deployment: str) -> None:
    response = digits.infer(path_of(deployment), image=golden(1)[0][:1])
    assert response.headers["torii-served-by"] == deployment
    assert response.json()["parameters"]["backend"] == deployment.partition("@")[2]
    assert response.json()["model_version"] == deployment[7]


def test_four_deployments_agree_on_every_image_of_the_data_set(digits: RunningGateway) -> None:
    images = load_digits().images.astype(np.float32)
    answers = [
        np.concatenate(
            [
                digits.outputs(f"digits@{backend}/versions/1", image=part)["probabilities"]
                for part in np.split(images, 3)
            ]
        )
        for backend in VERSION_1
    ]
    for other in answers[1:]:
        np.testing.assert_allclose(other, answers[0], atol=1e-4)


def test_an_unpinned_request_goes_to_the_newest_version_on_the_preferred_backend(digits: RunningGateway) -> None:
    response = digits.infer("digits", image=golden(2)[0][:1])
    assert response.headers["torii-served-by"] == "digits/2@onnxruntime"


def test_a_pinned_backend_chooses_the_newest_version_that_has_it(digits: RunningGateway) -> None:
    response = digits.infer("digits@tflite", image=golden(1)[0][:1])
    assert response.headers["torii-served-by"] == "digits/1@tflite"


@pytest.mark.parametrize("backend", VERSION_1)
def test_metadata_is_the_same_from_every_backend(digits: RunningGateway, backend: str) -> None:
    metadata = digits.get(f"/v2/models/digits@{backend}/versions/1").json()
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8]}]
    assert metadata["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}]
    assert metadata["versions"] == ["1", "2"]


def test_the_embedded_server_is_called_what_it_is_everywhere(digits: RunningGateway) -> None:
    runtime = digits.deployments()["digits/1@tfserving"]["runtime"]
    assert "embedded" in runtime
    assert digits.get("/v2/models/digits@tfserving").json()["parameters"]["runtime"] == runtime
    answer = digits.infer("digits@tfserving", image=golden(1)[0][:1]).json()
    assert answer["parameters"]["runtime"] == runtime


def test_status_shows_process_memory_and_digest_of_every_deployment(digits: RunningGateway) -> None:
    for name, each in digits.deployments().items():
        assert each["pid"], name
        assert each["rss_bytes"] > 2**20, name
        assert len(each["digest"]) == 64, name


def test_the_gateway_itself_stays_small(digits: RunningGateway) -> None:
    assert digits.rss_bytes() < 150 * 2**20


@pytest.mark.parametrize("digit", range(10))
def test_the_command_line_recognises_the_sample_images(digits: RunningGateway, digit: int) -> None:
    argv = [
        sys.executable,
        "-m",
        "gateway",
        "infer",
        "digits",
        f"docs/digits/{digit}.png",
        "--url",
        digits.url,
        "--json",
    ]
    answer = json.loads(subprocess.run(argv, cwd=ROOT, capture_output=True, check=True, text=True).stdout)
    assert np.argmax(answer["outputs"][0]["data"]) == digit


def test_the_command_line_shows_a_table_for_people(digits: RunningGateway) -> None:
    argv = [sys.executable, "-m", "gateway", "infer", "digits/1@tflite", "docs/digits/7.png", "--url", digits.url]
    shown = subprocess.run(argv, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert "argmax 7" in shown
    assert "served by digits/1@tflite" in shown


def test_status_for_people_lists_every_deployment(digits: RunningGateway) -> None:
    argv = [sys.executable, "-m", "gateway", "status", "--control", digits.control]
    run = subprocess.run(argv, cwd=ROOT, capture_output=True, check=True, text=True, env={"COLUMNS": "160"})
    for deployment in DEPLOYMENTS:
        assert deployment in run.stdout


def test_the_documentation_page_describes_the_inference_route(digits: RunningGateway) -> None:
    paths = digits.get("/openapi.json").json()["paths"]
    assert "post" in paths["/v2/models/{model}/infer"]
    page = digits.get("/docs").text
    assert "cdn" not in page, "the page has to work without internet"


def test_a_browser_is_sent_to_the_documentation_and_a_program_is_told_that_the_server_lives(
    digits: RunningGateway,
) -> None:
    page = digits.client.get(digits.url, headers={"Accept": "text/html,*/*"})
    assert (page.status_code, page.headers["location"]) == (307, "/docs")
    assert digits.get("/").json()["status"] == "alive"
