"""What was asked of a model by name, over what its folder says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import BatchingConfig, ModelConfig
from gateway.directives import Directive, overlaid
from gateway.repository import ModelEntry, Problem, Snapshot


def served(directive: Directive) -> list[int]:
    return [version for version in (1, 2, 3) if directive.serves(version)]


def test_nothing_asked_serves_everything() -> None:
    assert served(Directive()) == [1, 2, 3]
    assert not Directive().overrides


def test_a_model_is_unloaded_with_every_version_that_may_come() -> None:
    assert served(Directive().unloaded(None)) == []


def test_a_version_is_unloaded_and_loaded_by_itself() -> None:
    without = Directive().unloaded(2)
    assert served(without) == [1, 3]
    assert served(without.unloaded(3)) == [1]
    assert served(without.unloaded(2)) == [1, 3]
    assert served(without.unloaded(3).loaded(2)) == [1, 2]
    assert served(without.loaded(None)) == [1, 2, 3]


def test_a_version_of_an_unloaded_model_is_loaded_and_unloaded_by_itself() -> None:
    only = Directive().unloaded(None).loaded(2)
    assert served(only) == [2]
    assert served(only.loaded(3)) == [2, 3]
    assert served(only.unloaded(2)) == []
    assert served(only.unloaded(None)) == []
    assert served(only.loaded(None)) == [1, 2, 3]


def entry(name: str, *problems: Problem) -> ModelEntry:
    return ModelEntry(name, Path(name), ModelConfig(), {}, {}, problems)


@pytest.mark.parametrize("version", [None, 1])
def test_a_load_ends_every_override(version: int | None) -> None:
    directive = Directive(max_rows=3, versions="all", upload=entry("m"))
    assert directive.overrides
    assert not directive.loaded(version).overrides


def test_the_unload_of_a_model_ends_every_override_and_that_of_a_version_none() -> None:
    directive = Directive(max_rows=3, upload=entry("m"))
    assert not directive.unloaded(None).overrides
    assert directive.unloaded(1).upload is directive.upload


def test_settings_stand_in_for_those_of_model_toml_alone() -> None:
    config = ModelConfig(description="words", versions="all", batching=BatchingConfig(max_rows=1))
    assert Directive().applied(config) is config
    changed = Directive(max_rows=3, versions="latest:2").applied(config)
    assert (changed.batching.max_rows, changed.versions, changed.description) == (3, "latest:2", "words")


def test_uploads_stand_in_for_models_and_are_models_of_their_own() -> None:
    ours, theirs, new = entry("m"), entry("m", Problem("m", "theirs")), entry("new")
    snapshot = Snapshot({"m": theirs, "n": entry("n")}, frozenset({"m", "o"}), (Problem("o", "cannot be read"),))
    seen = overlaid(snapshot, {"m": Directive(upload=ours), "new": Directive(upload=new), "n": Directive(max_rows=1)})
    assert seen.models["m"] is ours
    assert seen.models["new"] is new
    assert seen.models["n"] is snapshot.models["n"]
    assert seen.unreadable == {"o"}
    assert seen.problems == snapshot.problems
    assert overlaid(snapshot, {}) is snapshot
