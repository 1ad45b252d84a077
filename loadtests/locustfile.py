"""Sends digits to a gateway: `locust -f loadtests/locustfile.py --host http://127.0.0.1:8000`.

One user class for each deployment, all of which answer the same question. With `--class-picker` the web page lets one
choose; TORII_DEPLOYMENT=digits/1@tflite sends to that one alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from locust import FastHttpUser, constant, task

from loadtests.digits import DEPLOYMENTS, request_bodies, url_path


class DigitsUser(FastHttpUser):
    """Asks one deployment to recognise digits, one image a request, as fast as it is answered."""

    abstract = True
    host = "http://127.0.0.1:8000"
    wait_time = constant(0)
    deployment = ""
    bodies: tuple[bytes, ...] = ()

    def on_start(self) -> None:
        """Called by Locust for each user."""
        self._path = url_path(self.deployment)
        self._turn = 0

    @task
    def recognise(self) -> None:
        """One inference request."""
        body = self.bodies[self._turn % len(self.bodies)]
        self._turn += 1
        with self.client.post(
            self._path,
            data=body,  # type: ignore[arg-type]  # bytes are taken, and spare the encoding
            headers=_HEADERS,
            name=self.deployment,
            catch_response=True,
        ) as response:
            if response.status_code != 200:
                response.failure(f"{response.status_code} {(response.text or '')[:200]}")
            elif response.headers.get("torii-served-by") != self.deployment:
                response.failure(f"served by {response.headers.get('torii-served-by')}")


_HEADERS = {"Content-Type": "application/json"}


def user_class(deployment: str, images: Path) -> type[DigitsUser]:
    """The user class of one deployment."""
    name = "".join(part.capitalize() for part in deployment.replace("@", "/").split("/"))
    return type(name, (DigitsUser,), {"deployment": deployment, "bodies": request_bodies(images), "abstract": False})


_images = Path(__file__).resolve().parents[1] / "docs" / "digits"
_chosen = [os.environ["TORII_DEPLOYMENT"]] if "TORII_DEPLOYMENT" in os.environ else DEPLOYMENTS
globals().update({each.__name__: each for each in (user_class(name, _images) for name in _chosen)})
