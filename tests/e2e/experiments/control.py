"""Experiments as the control API has them, for tests."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.e2e.gateway import RunningGateway


class Experiment:
    """One experiment of a running gateway."""

    def __init__(self, gateway: RunningGateway, model: str, name: str) -> None:
        self.gateway = gateway
        self.model = model
        self.name = name
        self.url = f"{gateway.control}/v1/models/{model}/experiments/{name}"

    def __str__(self) -> str:
        return f"{self.model}/{self.name}"

    def ask(self, method: str, path: str = "", body: object = None) -> httpx.Response:
        return self.gateway.client.request(method, self.url + path, json=body)

    def right(self, method: str, path: str = "", body: object = None) -> Any:
        response = self.ask(method, path, body)
        assert response.is_success, response.text
        return response.json() if response.content else None

    def begin(self, **document: object) -> Experiment:
        """Create and start it."""
        self.right("PUT", body=document)
        self.right("POST", "/start")
        return self

    def view(self) -> dict[str, Any]:
        found: dict[str, Any] = self.right("GET", "/status")
        return found

    def variants(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in self.view()["variants"]}

    def weights(self) -> dict[str, float]:
        return {name: each["weight"] for name, each in self.variants().items()}

    def requests(self) -> int:
        return sum(each["requests"] for each in self.view()["variants"])

    def events(self) -> list[dict[str, Any]]:
        query = {"model": self.model, "experiment": self.name}
        found: list[dict[str, Any]] = self.gateway.client.get(f"{self.gateway.control}/v1/events", params=query).json()[
            "events"
        ]
        return found

    def compared(self, variant: str, metric: str) -> dict[str, Any]:
        analysis = self.view()["analysis"]
        found = [each for each in analysis["comparisons"] if (each["variant"], each["metric"]) == (variant, metric)]
        assert len(found) == 1, json.dumps(analysis)[:2000]
        return dict(found[0])


def report(gateway: RunningGateway, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    """Outcomes that are taken, as far as they count."""
    response = gateway.client.post(f"{gateway.control}/v1/outcomes", json={"outcomes": outcomes})
    assert response.status_code == 200, response.text
    receipt: dict[str, Any] = response.json()
    return receipt
