"""What a load by name may bring along: names become paths, so nothing passes that is not of their form."""

from __future__ import annotations

import base64
import logging
from pathlib import PurePosixPath
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidInput
from gateway.errors import RequestTooLarge
from gateway.overrides import asks_override, read_overrides

WEIGHTS = base64.b64encode(b"weights").decode()


def names(**parameters: object) -> list[str]:
    return [str(path) for path in read_overrides("m", parameters, 1000).files]


def config(**keys: object) -> Any:
    return read_overrides("m", {"config": orjson.dumps(keys).decode()}, 1000)


def test_files_come_as_base64_or_as_bytes() -> None:
    files = read_overrides("m", {"file:1/model.onnx": WEIGHTS, "file:2/model.onnx": b"raw"}, 1000).files
    assert files == {PurePosixPath("1/model.onnx"): b"weights", PurePosixPath("2/model.onnx"): b"raw"}


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("file:1/model.onnx", "1/model.onnx"),
        ("file:0012/model.pt", "12/model.pt"),
        ("file:3/saved_model/variables/variables.data-00000-of-00001", None),
        ("file:3/a/b/c/d", None),
        ("file:1/_x", None),
        ("file:1/MODEL.v2", None),
    ],
)
def test_a_file_s_name_is_a_version_and_one_to_four_names(key: str, path: str | None) -> None:
    assert names(**{key: WEIGHTS}) == [path or key.removeprefix("file:")]


HOSTILE = [
    "file:",
    "file:1",
    "file:1/",
    "file:model.onnx",
    "file:0/model.onnx",
    "file:00/model.onnx",
    "file:-1/model.onnx",
    "file:+1/model.onnx",
    "file:1234567890123456789/model.onnx",
    "file:١/model.onnx",
    "file:1//model.onnx",
    "file:1/../model.onnx",
    "file:1/..",
    "file:1/.",
    "file:1/./model.onnx",
    "file:../1/model.onnx",
    "file:/1/model.onnx",
    "file://1/model.onnx",
    "file:/etc/passwd",
    "file:1/.hidden",
    "file:1/-rf",
    "file:1/a/b/c/d/e",
    "file:1/a\\b",
    "file:1/a b",
    "file:1/a\0b",
    "file:1/a\n",
    "file:1/é.onnx",
    "file:1/~",
    "file:1/%2e%2e/x",
    "file:1/model.onnx/",
    "file:1/" + "x" * 129,
    "file: 1/model.onnx",
]


@pytest.mark.parametrize("key", HOSTILE)
def test_any_other_name_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match="expected file:VERSION/NAME"):
        names(**{key: WEIGHTS})


@given(st.text(max_size=40))
def test_whatever_passes_stays_within_its_version(text: str) -> None:
    try:
        (path,) = names(**{f"file:{text}": WEIGHTS})
    except InvalidInput:
        return
    parts = path.split("/")
    assert parts[0].isdigit()
    assert 2 <= len(parts) <= 5
    assert all(part and not part.startswith((".", "-")) for part in parts)


@pytest.mark.parametrize(
    "value", ["not base64!", "d2VpZ2h0cw", "d2VpZ2h0cw=", "d2Vp Z2h0cw==", "d2VpZ2h0cw==\n", "====", "é", "d2-_cw=="]
)
def test_what_is_not_strictly_base64_is_refused_by_its_key(value: str) -> None:
    with pytest.raises(InvalidInput, match=r"'file:1/x': expected base64"):
        names(**{"file:1/x": value})


@pytest.mark.parametrize("value", [None, 3, True, ["d2VpZ2h0cw=="], {"a": 1}, 0.5])
def test_what_is_no_string_is_refused_by_its_key(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"'file:1/x': expected base64 as a string"):
        names(**{"file:1/x": value})


def test_one_path_comes_once_and_is_a_file_or_a_folder() -> None:
    with pytest.raises(InvalidInput, match="1/x is there twice"):
        names(**{"file:1/x": WEIGHTS, "file:001/x": WEIGHTS})
    with pytest.raises(InvalidInput, match="'file:1/x': expected a file or a folder, got both"):
        names(**{"file:1/x/y": WEIGHTS, "file:1/x": WEIGHTS})


def test_files_have_a_limit_together_and_in_number() -> None:
    parameters = {f"file:{number}/x": b"12345" for number in range(1, 5)}
    assert len(read_overrides("m", parameters, 20).files) == 4
    with pytest.raises(RequestTooLarge, match="at most 19 bytes together"):
        read_overrides("m", parameters, 19)
    with pytest.raises(InvalidInput, match="at most 1000 files, got 1001"):
        names(**{f"file:{number}/x": b"" for number in range(1, 1002)})


def test_config_stands_in_for_keys_of_model_toml() -> None:
    assert config(name="m", max_batch_size=8).max_rows == 8
    assert config(max_batch_size=0).max_rows is None, "0 is no batching in Triton, and none asked for here"
    assert config(version_policy={"all": {}}).versions == "all"
    assert config(version_policy={"latest": {"num_versions": 3}}).versions == "latest:3"
    assert config(version_policy={"latest": {}}).versions == "latest:1"
    assert config(version_policy={"specific": {"versions": [1, "4"]}}).versions == (1, 4)
    assert config(version_policy=None).versions is None
    assert config() == read_overrides("m", {}, 1000)


def test_keys_that_mean_nothing_here_are_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert config(backend="onnxruntime", instance_group=[], max_batch_size=2).max_rows == 2
    assert "load of m: config: without effect here: backend, instance_group" in caplog.text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", "config: not JSON"),
        ("{", "config: not JSON"),
        ("NaN", "config: not JSON"),
        ("[" * 5000, "config: not JSON"),
        ("[]", "config: expected an object, got a list"),
        ("3", "config: expected an object, got 3"),
        ("null", "config: expected an object, got nothing"),
        (" " * 2**20 + "{}", "config: expected at most 1048576 characters"),
        (3, "config: expected JSON as a string, got 3"),
        ({"max_batch_size": 8}, "config: expected JSON as a string, got an object"),
        (None, "config: expected JSON as a string, got nothing"),
        ('{"name": "other"}', "config.name: expected 'm', which is to be loaded, got 'other'"),
        ('{"name": 3}', "config.name: expected 'm'"),
        ('{"max_batch_size": -1}', "config.max_batch_size: expected an integer from 0"),
        ('{"max_batch_size": 2147483648}', "config.max_batch_size"),
        ('{"max_batch_size": true}', "config.max_batch_size"),
        ('{"max_batch_size": "8"}', "config.max_batch_size"),
        ('{"max_batch_size": 1.0}', "config.max_batch_size"),
        ('{"version_policy": {}}', "config.version_policy: expected an object with one of latest, all, specific"),
        ('{"version_policy": "all"}', "config.version_policy"),
        ('{"version_policy": {"all": {}, "latest": {}}}', "config.version_policy"),
        ('{"version_policy": {"all": true}}', "config.version_policy"),
        ('{"version_policy": {"newest": {}}}', "config.version_policy: expected one of latest, all, specific"),
        ('{"version_policy": {"latest": {"num_versions": "2"}}}', "config.version_policy.latest.num_versions"),
        ('{"version_policy": {"latest": {"num_versions": 1000000}}}', "config.version_policy.latest.num_versions"),
        ('{"version_policy": {"specific": {}}}', "config.version_policy.specific.versions: expected a list"),
        ('{"version_policy": {"specific": {"versions": [0]}}}', "config.version_policy.specific.versions"),
        ('{"version_policy": {"specific": {"versions": ["x"]}}}', "config.version_policy.specific.versions"),
        ('{"version_policy": {"specific": {"versions": [1000000000000000000]}}}', "specific.versions"),
    ],
)  # fmt: skip
def test_a_config_that_is_wrong_is_refused_by_its_key(value: object, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_overrides("m", {"config": value}, 1000)
    assert text in str(caught.value)


def test_other_parameters_ask_for_nothing() -> None:
    assert not asks_override({"unload_dependents": True, "filet": 1, "Config": 2})
    assert asks_override({"config": "{}"})
    assert asks_override({"file:": ""})
    assert names(unload_dependents=True, priority=3) == []
