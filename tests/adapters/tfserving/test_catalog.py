"""The catalog against a fake of the real TF Serving's ways: reloads that block, and blame all new models for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.base import Artifact
from adapters.errors import BackendUnavailable, InferenceFailed, LoadFailed
from adapters.tfserving.catalog import Catalog
from adapters.tfserving.model_service import ModelService, ServedModel, VersionStatus


class FakeService:
    """Serves what is configured once `go` is set; a model whose artifact's folder is called 'bad' fails to load."""

    def __init__(self) -> None:
        self.configured: list[ServedModel] = []
        self.known: dict[str, VersionStatus] = {}
        self.go = asyncio.Event()
        self.go.set()
        self.waiting = asyncio.Event()
        self.gone = False

    async def reload(self, models: Iterable[ServedModel], limit_s: float) -> None:
        if self.gone:
            raise BackendUnavailable("gone")
        new = [model for model in models if model not in self.configured]
        self.configured = list(models)
        self.waiting.set()
        await self.go.wait()
        for model in new:
            folder = (model.base_path / str(model.version)).resolve()
            bad = folder.name == "bad"
            status = VersionStatus(model.version, "END" if bad else "AVAILABLE", f"{folder} is bad" if bad else "")
            self.known[model.name] = status
        if any(self.known[model.name].state == "END" for model in new):
            raise InferenceFailed("1 servable(s) did not become available (UNKNOWN)")

    async def status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        return [self.known[name]] if name in self.known else []


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def catalog(service: FakeService, tmp_path: Path) -> Catalog:
    return Catalog(cast(ModelService, service), tmp_path / "staged", load_limit_s=5)


@pytest.fixture
def make(tmp_path: Path, artifact: Callable[..., Artifact]) -> Callable[..., Artifact]:
    def make_artifact(name: str = "good", **options: Any) -> Artifact:
        path = tmp_path / name
        path.mkdir(exist_ok=True)
        (path / "saved_model.pb").touch()
        return artifact(path, **options)

    return make_artifact


def staged(tmp_path: Path) -> list[str]:
    return [folder.name for folder in (tmp_path / "staged").glob("*")]


async def test_an_added_model_is_staged_under_its_version(
    catalog: Catalog, service: FakeService, make: Callable[..., Artifact], tmp_path: Path
) -> None:
    model = await catalog.add(make(version=7))
    assert service.configured == [model]
    assert model.name.startswith("half.7.0123456789ab.")
    assert (model.base_path / "7").resolve() == tmp_path / "good"


async def test_two_contents_of_a_version_are_served_side_by_side(
    catalog: Catalog, service: FakeService, make: Callable[..., Artifact]
) -> None:
    old, new = await catalog.add(make()), await catalog.add(make("newer"))
    assert service.configured == [old, new]
    await catalog.remove(old.name)
    assert service.configured == [new]


async def test_a_removed_model_leaves_the_artifact_alone(
    catalog: Catalog, service: FakeService, make: Callable[..., Artifact], tmp_path: Path
) -> None:
    model = await catalog.add(make())
    await catalog.remove(model.name)
    await catalog.remove(model.name)
    assert service.configured == []
    assert staged(tmp_path) == []
    assert (tmp_path / "good" / "saved_model.pb").exists()


async def test_a_model_that_fails_is_taken_out_again_and_named_by_its_own_path(
    catalog: Catalog, service: FakeService, make: Callable[..., Artifact], tmp_path: Path
) -> None:
    good = await catalog.add(make())
    with pytest.raises(LoadFailed, match=f"{tmp_path}/bad is bad"):
        await catalog.add(make("bad"))
    assert service.configured == [good]
    assert staged(tmp_path) == [good.name]


async def test_a_model_that_is_loaded_with_a_bad_one_is_not_blamed_for_it(
    catalog: Catalog, service: FakeService, make: Callable[..., Artifact]
) -> None:
    service.go.clear()
    first = asyncio.create_task(catalog.add(make()))
    await service.waiting.wait()  # it holds up the next two, which are then sent together
    bad, good = (asyncio.create_task(catalog.add(make(name))) for name in ("bad", "good"))
    await asyncio.sleep(0)
    service.go.set()
    with pytest.raises(LoadFailed):
        await bad
    assert service.configured == [await first, await good]


async def test_a_cancelled_load_is_taken_out_again(
    catalog: Catalog, service: FakeService, make: Callable[..., Artifact], tmp_path: Path
) -> None:
    service.go.clear()
    loading = asyncio.create_task(catalog.add(make()))
    await service.waiting.wait()
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    service.go.set()
    other = await catalog.add(make())  # sent after the one that takes the cancelled model out
    assert service.configured == [other]


async def test_a_load_that_takes_too_long_asks_whether_the_server_sees_the_files(
    service: FakeService, make: Callable[..., Artifact], tmp_path: Path
) -> None:
    catalog = Catalog(cast(ModelService, service), tmp_path / "staged", load_limit_s=0.05)

    async def never(name: str, version: int | None = None) -> list[VersionStatus]:
        return []

    service.status = never  # type: ignore[method-assign]
    with pytest.raises(BackendUnavailable, match="does it see"):
        await catalog.add(make())
    assert service.configured == []


async def test_a_server_that_is_gone_is_no_fault_of_the_model(
    catalog: Catalog, service: FakeService, make: Callable[..., Artifact], tmp_path: Path
) -> None:
    service.gone = True
    with pytest.raises(BackendUnavailable, match="gone"):
        await catalog.add(make())
    assert staged(tmp_path) == []


async def test_a_model_that_ended_without_an_error_was_unloaded_by_someone_else(
    catalog: Catalog, service: FakeService, make: Callable[..., Artifact]
) -> None:
    async def ended(name: str, version: int | None = None) -> list[VersionStatus]:
        return [VersionStatus(123, "END", "")]

    service.status = ended  # type: ignore[method-assign]
    with pytest.raises(LoadFailed, match="unloaded"):
        await catalog.add(make())
