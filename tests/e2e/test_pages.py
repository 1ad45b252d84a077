"""The pages of a real gateway: what is served, and one request to two backends."""

from __future__ import annotations

import json

import httpx

from tests.e2e.gateway import RunningGateway

AS_BROWSERS_DO = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_the_overview_shows_every_deployment(digits: RunningGateway) -> None:
    answer = httpx.get(digits.control + "/", headers=AS_BROWSERS_DO, timeout=30)
    assert answer.status_code == 200
    for each in digits.status()["deployments"]:
        assert f'id="d-{each["deployment"]}"' in answer.text
        assert each["digest"] in answer.text
        assert each["runtime"] in answer.text


def test_a_model_s_address_is_a_page_for_browsers_and_torchserve_s_answer_for_programs(digits: RunningGateway) -> None:
    address = digits.control + "/models/digits"
    assert "<h1>digits</h1>" in httpx.get(address, headers=AS_BROWSERS_DO, timeout=30).text
    assert httpx.get(address, timeout=30).json()[0]["modelName"] == "digits"


def test_one_request_is_answered_by_two_backends(digits: RunningGateway) -> None:
    image = [float(number % 17) for number in range(64)]
    request = {"inputs": [{"name": "image", "shape": [1, 8, 8], "datatype": "FP32", "data": image}]}
    form = {
        "act": "compare",
        "first": "digits/1@tfserving",
        "second": "digits/1@tflite",
        "request": json.dumps(request),
    }
    headers = {**AS_BROWSERS_DO, "origin": digits.control}
    answer = httpx.post(digits.control + "/models/digits", data=form, headers=headers, timeout=60)
    assert answer.status_code == 200
    assert "argmax equal" in answer.text
    assert '<td data-label="Served by">digits/1@tfserving</td>' in answer.text
    assert '<td data-label="Served by">digits/1@tflite</td>' in answer.text


def test_a_page_of_elsewhere_cannot_send_a_form(digits: RunningGateway) -> None:
    headers = {**AS_BROWSERS_DO, "origin": "http://evil.example"}
    form = {"act": "label", "label": "canary", "version": "1"}
    answer = httpx.post(digits.control + "/models/digits", data=form, headers=headers, timeout=30)
    assert answer.status_code == 403
