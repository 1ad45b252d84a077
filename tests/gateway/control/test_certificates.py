"""Certificates over the control API, and on a model's page."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI

from adapters.export.certificate import decode, encode, write
from adapters.export.picture import POLICY
from gateway.control.certificates import Certificates, add_certificates
from gateway.control.errors import add_errors
from tests.adapters.export.certificates import certificate, side
from tests.gateway.control.pages.served import Served, served
from tests.gateway.plane import Plane

HOSTILE = ["..", "../../m/1/certificates/tflite", "%2e%2e%2fsecret", "secret.json", "a%00b", "Tflite", "x" * 300, "-"]


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    plane = Plane(tmp_path)
    plane.publish("m/1", "one")
    async with plane.running():
        await plane.reaches(v1="READY")
        yield plane


@pytest.fixture
async def client(plane: Plane) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    add_certificates(app, Certificates(plane.control))
    add_errors(app)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8002") as client:
        yield client


def certified(plane: Plane, backend: str = "tflite", content: bytes = b"weights", **changed: Any) -> Path:
    """Put a model and the certificate of a model with that content beside it."""
    folder = plane.root / "m" / "1"
    (folder / "certificates").mkdir(exist_ok=True)
    (folder / "model.tflite").write_bytes(b"weights")
    made = certificate(**changed)
    export = side("tflite", "model.tflite", hashlib.sha256(content).hexdigest())
    write(msgspec.structs.replace(made, export=export), folder / "certificates" / f"{backend}.json")
    return folder


BASE = "/v1/models/m/versions/1/certificates"


async def test_certificates_are_listed_and_each_is_there_whole(plane: Plane, client: httpx.AsyncClient) -> None:
    certified(plane)
    certified(plane, "tflite-int8", difference=0.5)
    listed = (await client.get(BASE)).json()["certificates"]
    told = [(each["backend"], each["passed"], each["current"]) for each in listed]
    assert told == [("tflite", True, True), ("tflite-int8", False, True)]
    assert "(largest)" in listed[1]["reasons"][0]
    whole = await client.get(f"{BASE}/tflite")
    assert encode(decode(whole.content)) == whole.content


async def test_one_and_all_are_pages_that_may_do_nothing(plane: Plane, client: httpx.AsyncClient) -> None:
    certified(plane)
    certified(plane, "tflite-int8")
    for address in (f"{BASE}/tflite.html", f"{BASE}.html"):
        page = await client.get(address)
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["content-security-policy"] == f"{POLICY}; frame-ancestors 'none'"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "✓ passed" in page.text


async def test_a_page_that_lies_beside_a_certificate_is_not_what_is_shown(
    plane: Plane, client: httpx.AsyncClient
) -> None:
    folder = certified(plane)
    (folder / "certificates" / "tflite.html").write_text("<script>alert(1)</script>")
    assert "alert(1)" not in (await client.get(f"{BASE}/tflite.html")).text


async def test_a_certificate_of_other_weights_is_said_to_be_old(plane: Plane, client: httpx.AsyncClient) -> None:
    folder = certified(plane, content=b"others")
    assert (await client.get(BASE)).json()["certificates"][0]["current"] is False
    assert "is not the one that was certified" in (await client.get(f"{BASE}/tflite.html")).text
    (folder / "model.tflite").write_bytes(b"others")
    assert (await client.get(BASE)).json()["certificates"][0]["current"] is True
    (folder / "model.tflite").unlink()
    assert (await client.get(BASE)).json()["certificates"][0]["current"] is False


async def test_a_damaged_certificate_is_said_to_be_and_hides_no_other(plane: Plane, client: httpx.AsyncClient) -> None:
    folder = certified(plane)
    (folder / "certificates" / "onnxruntime.json").write_bytes(b'{"schema":1,')
    listed = (await client.get(BASE)).json()["certificates"]
    assert [each["backend"] for each in listed] == ["onnxruntime", "tflite"]
    assert "cut off, or not one" in listed[0]["problem"]
    for address in (f"{BASE}/onnxruntime", f"{BASE}/onnxruntime.html"):
        refused = await client.get(address)
        assert refused.status_code == 409
        assert "export it again" in refused.json()["error"]


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_name_leads_out_of_the_folder(plane: Plane, client: httpx.AsyncClient, name: str) -> None:
    folder = certified(plane)
    write(certificate(), plane.root / "secret.json")
    write(certificate(), folder / "secret.json")
    write(certificate(), folder / "certificates" / "Tflite.json")
    for address in (f"{BASE}/{name}", f"{BASE}/{name}.html"):
        answer = await client.get(address)
        assert answer.status_code == 404, answer.text


async def test_links_are_not_followed(plane: Plane, client: httpx.AsyncClient, tmp_path: Path) -> None:
    folder = certified(plane)
    write(certificate(), tmp_path / "elsewhere.json")
    (folder / "certificates" / "linked.json").symlink_to(tmp_path / "elsewhere.json")
    assert [each["backend"] for each in (await client.get(BASE)).json()["certificates"]] == ["tflite"]
    plane.publish("m/2", "two")
    await plane.reaches(v2="READY")
    (plane.root / "m" / "2" / "certificates").symlink_to(folder / "certificates")
    assert (await client.get("/v1/models/m/versions/2/certificates")).json() == {"certificates": []}


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        (f"{BASE}/tflite", 404, "m/1 has no certificate of 'tflite'; there are: none"),
        (f"{BASE}.html", 404, "has no certificates"),
        ("/v1/models/m/versions/7/certificates", 404, "model 'm' has no version 7; there are: 1"),
        ("/v1/models/no/versions/1/certificates", 404, "model 'no' is not in the repository"),
        ("/v1/models/m/versions/one/certificates", 400, "version"),
        ("/v1/models/m/versions/-1/certificates", 404, "no version -1"),
    ],
)
async def test_what_is_not_there_is_said_not_to_be(
    client: httpx.AsyncClient, address: str, status: int, says: str
) -> None:
    answer = await client.get(address)
    assert answer.status_code == status
    assert says in answer.json()["error"]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as found:
        yield found


async def test_a_model_s_page_has_the_verdict_of_each_export(site: Served) -> None:
    assert "Certificates of exports" not in (await site.client.get("/models/m")).text
    certified(site.plane, "tflite-int8")
    certified(site.plane, "tflite", content=b"others", difference=0.5)
    page = (await site.client.get("/models/m")).text
    assert 'href="/v1/models/m/versions/1/certificates/tflite-int8.html"' in page
    assert "torchscript → pt2, then pt2 → tflite" in page
    assert "of another file than is there now" in page
    assert page.count(">passed</span>") == 1
    assert page.count(">failed</span>") == 1
