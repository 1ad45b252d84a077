"""Metadata and targets over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from typing import Any

import pytest
import zstandard

from gateway.edge.server.catalog import Catalog, read_catalog
from tests.gateway.edge.server.conftest import Serve
from tests.gateway.edge.server.folder import Folder

CONTENT = bytes(range(256)) * 1024


@pytest.fixture
def target(folder: Folder) -> str:
    digest = folder.bundle("digits", 1, CONTENT)
    for platform in ("ios", "browser", "linux-arm64"):
        folder.bundle("digits", 1, CONTENT, platform)
    folder.write()
    return f"targets/digits/1/{digest}.digits-1-android.zip"


async def test_a_timestamp_is_always_asked_for_again_and_what_bears_a_version_never(
    serve: Serve, folder: Folder, target: str
) -> None:
    edge = await serve()
    async with edge.get("metadata/timestamp.json") as answer:
        assert answer.headers["Cache-Control"] == "no-cache"
        tag = answer.headers["ETag"]
        assert await answer.read() == (folder.path / "metadata/timestamp.json").read_bytes()
    async with edge.get("metadata/timestamp.json", headers={"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read(), answer.headers["ETag"]) == (304, b"", tag)
    async with edge.get("metadata/1.targets.json") as answer:
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.content_type == "application/json"
    folder.write()
    await edge.state.watch.look()
    async with edge.get("metadata/timestamp.json", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(("asked", "got"), [("gzip", "gzip"), ("zstd, gzip", "zstd"), ("zstd;q=0, gzip", "gzip")])
async def test_metadata_is_sent_compressed_to_whom_takes_that(
    serve: Serve, folder: Folder, target: str, asked: str, got: str
) -> None:
    edge = await serve()
    whole = (folder.path / "metadata/1.targets.json").read_bytes()
    async with edge.get("metadata/1.targets.json", headers={"Accept-Encoding": asked}) as answer:
        assert answer.headers["Content-Encoding"] == got
        assert answer.headers["Vary"] == "Accept-Encoding"
        body = await answer.read()
    assert len(body) < len(whole)
    assert (gzip.decompress(body) if got == "gzip" else zstandard.ZstdDecompressor().decompress(body)) == whole


async def test_each_encoding_has_a_tag_of_its_own(serve: Serve, target: str) -> None:
    edge = await serve()
    tags = set()
    for asked in ("identity", "gzip", "zstd"):
        async with edge.get("metadata/1.targets.json", headers={"Accept-Encoding": asked}) as answer:
            tags.add(answer.headers["ETag"])
    assert len(tags) == 3


async def test_a_target_is_tagged_by_its_digest_and_kept_forever(serve: Serve, folder: Folder, target: str) -> None:
    edge = await serve()
    async with edge.get(target) as answer:
        assert await answer.read() == CONTENT
        digest = folder.targets["digits/1/digits-1-android.zip"]["hashes"]["sha256"]
        assert answer.headers["ETag"] == f'"{digest}"'
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.content_type == "application/zip"
    async with edge.get(target, headers={"If-None-Match": f'W/"{digest}"'}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    async with edge.get(target, headers={"If-Match": '"another"'}) as answer:
        assert answer.status == 412


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=262000-", 206, 262000, 262144),
        ("bytes=-5", 206, 262139, 262144),
        ("bytes=-999999999", 206, 0, 262144),
        ("bytes=262140-999999999", 206, 262140, 262144),
        ("bytes=5-2", 200, 0, 262144),
        ("bytes=0-1,5-6", 200, 0, 262144),
        ("bytes=-", 200, 0, 262144),
        ("bytes=a-b", 200, 0, 262144),
        ("lines=1-2", 200, 0, 262144),
        ("bytes=0-9" + "9" * 30, 200, 0, 262144),
    ],
)
async def test_a_range_is_answered_with_that_part(
    serve: Serve, target: str, asked: str, status: int, start: int, end: int
) -> None:
    edge = await serve()
    async with edge.get(target, headers={"Range": asked}) as answer:
        assert answer.status == status
        assert await answer.read() == CONTENT[start:end]
        told = f"bytes {start}-{end - 1}/262144" if status == 206 else None
        assert answer.headers.get("Content-Range") == told


@pytest.mark.parametrize("asked", ["bytes=262144-", "bytes=999999999-", "bytes=-0"])
async def test_a_range_of_which_nothing_is_there_is_refused_with_the_length(
    serve: Serve, target: str, asked: str
) -> None:
    edge = await serve()
    async with edge.get(target, headers={"Range": asked}) as answer:
        assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */262144")
    async with edge.get(target) as answer:
        assert await answer.read() == CONTENT


async def test_a_download_is_resumed_only_of_the_same_content(serve: Serve, folder: Folder, target: str) -> None:
    edge = await serve()
    digest = folder.targets["digits/1/digits-1-android.zip"]["hashes"]["sha256"]
    for tag, status, body in ((f'"{digest}"', 206, CONTENT[100:]), ('"other"', 200, CONTENT)):
        async with edge.get(target, headers={"Range": "bytes=100-", "If-Range": tag}) as answer:
            assert answer.status == status
            assert await answer.read() == body
    async with edge.get(target, headers={"Range": "bytes=100-", "If-Range": "Wed, 21 Oct 2026 07:28:00 GMT"}) as answer:
        assert answer.status == 200


async def test_head_says_what_get_would_and_sends_nothing(serve: Serve, target: str) -> None:
    edge = await serve()
    for path in (target, "metadata/timestamp.json"):
        async with edge.session.head(f"/edge/v1/{path}") as told, edge.get(path) as answer:
            assert told.status == 200
            assert await told.read() == b""
            for name in ("Content-Length", "ETag", "Cache-Control", "Content-Type"):
                assert told.headers[name] == answer.headers[name]


async def test_a_compressed_file_beside_a_target_is_sent_to_whom_takes_it(
    serve: Serve, folder: Folder, target: str
) -> None:
    edge = await serve()
    file = folder.path / target
    file.with_name(file.name + ".gz").write_bytes(gzip.compress(CONTENT, mtime=0))
    async with edge.get(target, headers={"Accept-Encoding": "gzip", "Range": "bytes=0-9"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert await answer.read() == gzip.compress(CONTENT, mtime=0)[:10]
        assert answer.headers["ETag"].endswith('.gzip"')
    async with edge.get(target) as answer:
        assert "Content-Encoding" not in answer.headers
        assert await answer.read() == CONTENT


@pytest.mark.parametrize(
    "path",
    [
        "metadata/2.targets.json",
        "metadata/targets.json",
        "metadata/..%2fkeys%2fonline%2ftimestamp.pem",
        "metadata/%2e%2e%2fkeys",
        "metadata/.staged.timestamp.json",
        "metadata/1.root.json.bak",
        "targets/../keys/online/key.pem",
        "targets/..%2fkeys%2fonline%2fkey.pem",
        "targets//etc/passwd",
        "targets/%2fetc%2fpasswd",
        "targets/digits/1/digits-1-android.zip",
        "targets/digits/1/%00",
        "keys/online/key.pem",
        "channels/digits.json",
        "",
    ],
)
async def test_nothing_but_signed_files_is_to_be_had(serve: Serve, folder: Folder, target: str, path: str) -> None:
    (folder.path / "keys/online").mkdir(parents=True)
    (folder.path / "keys/online/key.pem").write_text("secret")
    (folder.path / "metadata/1.root.json.bak").write_text("secret")
    (folder.path / "metadata/.staged.timestamp.json").write_text("secret")
    edge = await serve()
    status, body = await _raw(edge, f"GET /edge/v1/{path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert status == 404
    assert "secret" not in body
    assert body.startswith('{"error":')


async def _raw(edge: Any, request: str) -> tuple[int, str]:
    base = edge.session._base_url
    reader, writer = await asyncio.open_connection(base.host, base.port)
    writer.write(request.encode())
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


async def test_a_target_whose_file_is_not_what_was_signed_is_not_sent(
    serve: Serve, folder: Folder, target: str
) -> None:
    edge = await serve()
    file = folder.path / target
    with file.open("r+b") as stream:
        os.truncate(stream.fileno(), 1000)
    async with edge.get(target) as answer:
        assert answer.status == 404
        assert "signed with 262144 bytes" in (await answer.json())["error"]
    file.unlink()
    async with edge.get(target) as answer:
        assert answer.status == 404


async def test_what_is_published_while_serving_is_taken_up_and_what_is_broken_is_not(
    serve: Serve, folder: Folder, target: str
) -> None:
    edge = await serve()
    digest = folder.bundle("digits", 2, b"two")
    folder.write()
    await edge.state.watch.look()
    name = f"targets/digits/2/{digest}.digits-2-android.zip"
    async with edge.get(name) as answer:
        assert await answer.read() == b"two"
    (folder.path / "metadata/timestamp.json").write_text("{")
    await edge.state.watch.look()
    async with edge.get(name) as answer:
        assert await answer.read() == b"two"
    assert any("timestamp.json" in each for each in (await edge.status())["problems"])


@pytest.mark.parametrize(
    ("file", "signed"),
    [
        ("timestamp.json", {"meta": []}),
        ("timestamp.json", {"meta": {"snapshot.json": 1}}),
        ("2.snapshot.json", {"meta": {"targets.json": {}}}),
        ("2.targets.json", {"targets": None}),
        ("2.targets.json", {"targets": {"a/b.zip": {"length": 1, "hashes": {"sha256": "0"}, "custom": 1}}}),
        (
            "2.targets.json",
            {"targets": {"a/b": {"length": 1, "hashes": {"sha256": "0"}, "custom": {"from_sha256": []}}}},
        ),
    ],
)
def test_metadata_of_another_form_are_a_problem_and_what_was_there_counts_on(
    folder: Folder, target: str, file: str, signed: dict[str, Any]
) -> None:
    before = read_catalog(folder.path, Catalog())
    folder.write()
    path = folder.path / "metadata" / file
    told = json.loads(path.read_bytes())
    path.write_text(json.dumps({**told, "signed": {**told["signed"], **signed}}))
    found = read_catalog(folder.path, before)
    assert found.targets == before.targets
    assert len(found.problems) == 1


async def test_a_target_outside_of_its_folder_is_not_taken_even_if_signed(serve: Serve, folder: Folder) -> None:
    folder.bundle("digits", 1, b"one")
    folder.write()
    edge = await serve()
    folder.targets["../keys/key.pem"] = {"length": 3, "hashes": {"sha256": "a" * 64}}
    folder.write()
    await edge.state.watch.look()
    assert edge.state.watch.catalog.targets.keys() == {
        name for name in edge.state.watch.catalog.targets if name.startswith("digits/")
    }
    assert any("expected a path below targets/" in each for each in (await edge.status())["problems"])


async def test_errors_are_json_and_name_what_is_wrong(serve: Serve, target: str) -> None:
    edge = await serve()
    async with edge.session.post("/edge/v1/metadata/timestamp.json") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
        assert "error" in await answer.json()
    async with edge.session.get("/nothing") as answer:
        assert answer.status == 404
        assert "error" in await answer.json()
