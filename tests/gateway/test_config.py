"""A wrong setting names file, key, what was expected and what was found; and none is bent into a right one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.base import BACKENDS
from adapters.tensors import DataType, Signature, TensorSpec
from gateway.config import ConfigError, ModelConfig, read_labels, read_model_config, read_settings
from gateway.types import Limits

FILE = "digits/model.toml"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings are read from the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_model_without_a_file_has_every_default() -> None:
    assert read_model_config("", FILE) == ModelConfig()
    assert ModelConfig().limits.limits() == Limits()


def test_everything_that_can_be_set_is_read() -> None:
    config = read_model_config(
        """
        description = "Digits"
        backends = ["tflite", "onnxruntime"]
        versions = "latest:2"
        [batching]
        max_rows = 64
        [limits]
        max_in_flight = 2
        max_queue = 0
        timeout_ms = 500
        [backend.onnxruntime]
        intra_op_threads = 3
        execution_providers = ["CPUExecutionProvider"]
        [backend.tflite]
        threads = 1
        xnnpack = false
        [backend.torchserve]
        workers = 2
        threads = 1
        device = "cuda:1"
        [[signature.inputs]]
        name = "x"
        datatype = "FP32"
        shape = [-1, 8, 8]
        [[signature.outputs]]
        name = "y"
        datatype = "BYTES"
        shape = []
        [version.1]
        description = "first"
        test_accuracy = 1
        """,
        FILE,
    )
    assert (config.backends, config.versions, config.batching.max_rows) == (("tflite", "onnxruntime"), "latest:2", 64)
    assert config.limits.limits() == Limits(2, 0, 500)
    assert config.backend.options("onnxruntime") == {
        "intra_op_threads": 3,
        "execution_providers": ["CPUExecutionProvider"],
    }
    assert config.backend.options("tflite") == {"threads": 1, "xnnpack": False}
    assert config.backend.options("torchserve") == {"workers": 2, "threads": 1, "device": "cuda:1"}
    assert [config.backend.options(each) for each in ("tfserving", "later")] == [{}, {}]
    assert config.backend.options("tflite-int8") == config.backend.options("tflite")
    assert config.signature is not None
    assert config.signature.signature() == Signature(
        (TensorSpec("x", DataType.FP32, (None, 8, 8)),), (TensorSpec("y", DataType.BYTES, ()),)
    )
    assert list(config.version) == [1]


def test_backends_may_be_variants_of_those_that_have_them() -> None:
    config = read_model_config("backends = ['tflite-int8', 'onnxruntime-ort', 'torchserve']", FILE)
    assert config.backends == ("tflite-int8", "onnxruntime-ort", "torchserve")
    for wrong in ("torchserve-int8", "tflite-", "tflite-INT8", "tflite-int8 ", "tflite-int8/../x", "int8"):
        with pytest.raises(ConfigError, match=r"^digits/model.toml: backends.0: expected one of"):
            read_model_config(f"backends = ['{wrong}']", FILE)


@pytest.mark.parametrize(
    ("policy", "read"), [('"all"', "all"), ('"latest:12"', "latest:12"), ("[3, 1]", (3, 1)), ("[]", ())]
)
def test_version_policies_are_read(policy: str, read: Any) -> None:
    assert read_model_config(f"versions = {policy}", FILE).versions == read


@pytest.mark.parametrize("policy", ['"latest"', '"latest:0"', '"latest:-1"', '" all"', "1", "true", "[0]", "[true]",
                                    '["1"]', "[1.0]", '"all\\n"'])  # fmt: skip
def test_other_version_policies_are_refused(policy: str) -> None:
    with pytest.raises(ConfigError, match=r'^digits/model.toml: versions: expected "all", "latest:N" or a list of ver'):
        read_model_config(f"versions = {policy}", FILE)


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ("max_rows = 3", "max_rows", "this key is unknown, found 3"),
        ("str = 3", "str", "this key is unknown, found 3"),
        ("[batching]\nmax_row = 3", "batching.max_row", "this key is unknown, found 3"),
        ("[backend.onnx]\nthreads = 1", "backend.onnx", "this key is unknown"),
        ("[backend.tflite]\nworkers = 1", "backend.tflite.workers", "this key is unknown, found 1"),
        ("[backend.tflite]\nxnnpack = 0", "backend.tflite.xnnpack", "Input should be a valid boolean, found 0"),
        (
            "[backend.torchserve]\ndevice = 'gpu'",
            "backend.torchserve.device",
            'expected "cpu", "cuda" or "cuda:N", found \'gpu\'',
        ),
        ("[backend.torchserve]\nthreads = 0", "backend.torchserve.threads", "Input should be greater than or equal"),
        ("[batching]\nmax_rows = 0", "batching.max_rows", "Input should be greater than or equal to 1, found 0"),
        ("[batching]\nmax_rows = true", "batching.max_rows", "Input should be a valid integer, found True"),
        ("[batching]\nmax_rows = '8'", "batching.max_rows", "Input should be a valid integer, found '8'"),
        ("[batching]\nmax_rows = 8.0", "batching.max_rows", "Input should be a valid integer, found 8.0"),
        ("[limits]\nmax_queue = -1", "limits.max_queue", "Input should be greater than or equal to 0, found -1"),
        ("backends = 'tflite'", "backends", "Input should be a valid tuple, found 'tflite'"),
        (
            "backends = ['onnx']",
            "backends.0",
            f"expected one of {', '.join(BACKENDS)}, or a variant of onnxruntime or tflite, as",
        ),
        (
            "[version.1]\ntest_accuracy = 97",
            "version.1.test_accuracy",
            "Input should be less than or equal to 1, found 97",
        ),
        ("[version.1]\ntest_accuracy = '1'", "version.1.test_accuracy", "Input should be a valid number, found '1'"),
        ("[version.one]\nframework = 'x'", "version.one.[key]", "Input should be a valid integer"),
        ("[[signature.inputs]]\nname = 'x'", "signature.inputs.0.datatype", "Field required"),
        ("versions = ", "not TOML", "Invalid value"),
    ],
)
def test_a_mistake_is_said_with_file_key_expected_and_found(text: str, key: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_model_config(text, FILE)
    assert str(raised.value).startswith(f"digits/model.toml: {key}: {says}")


def test_several_mistakes_are_said_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        read_model_config("a = 1\n[limits]\ntimeout_ms = 0", FILE)
    assert str(raised.value).split("; ") == [
        "digits/model.toml: limits.timeout_ms: Input should be greater than or equal to 1, found 0",
        "digits/model.toml: a: this key is unknown, found 1",
    ]


def test_a_huge_value_is_not_echoed_whole() -> None:
    with pytest.raises(ConfigError) as raised:
        read_model_config(f"description = ['{'x' * 10000}']", FILE)
    assert len(str(raised.value)) < 300


def test_labels_are_any_words_for_version_numbers() -> None:
    assert read_labels("stable = 1\ncanary = 2\n'my label' = 3", "labels.toml") == {
        "stable": 1,
        "canary": 2,
        "my label": 3,
    }


def test_settings_have_defaults_that_keep_the_control_api_on_loopback() -> None:
    settings = read_settings()
    assert (settings.host, settings.control_host, settings.allow_code) == ("127.0.0.1", "127.0.0.1", False)


def test_flags_win_over_the_environment_and_this_over_the_file(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_folder / "torii.toml").write_text(
        "http_port = 1\ncontrol_port = 1\npoll_s = 1.5\n[tfserving]\nendpoint='a:1'"
    )
    monkeypatch.setenv("TORII_HTTP_PORT", "2")
    monkeypatch.setenv("TORII_CONTROL_PORT", "2")
    monkeypatch.setenv("TORII_TFSERVING__ENDPOINT", "b:2")
    settings = read_settings(http_port=3, control_port=None)
    assert (settings.http_port, settings.control_port, settings.poll_s) == (3, 2, 1.5)
    assert settings.tfserving.endpoint == "b:2"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"http_port": 65536}, "http_port: Input should be less than or equal to 65535, found 65536"),
        ({"poll_s": 0}, "poll_s: Input should be greater than 0, found 0"),
        ({"prot": 1}, "prot: this key is unknown, found 1"),
        ({"log_level": "loud"}, "log_level: Input should be 'debug', 'info', 'warning' or 'error', found 'loud'"),
        (
            {"torchserve": {"inference_url": "http://x", "token": "s3cret"}},
            "torchserve: inference_url and management_ur",
        ),
        ({"tfserving": {"manage": True}}, "tfserving: manage is for a server that is given as endpoint"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_said_with_its_name(flags: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_settings(**flags)
    assert str(raised.value).startswith(f"settings (flags, TORII_…, torii.toml): {says}")


@pytest.mark.parametrize(
    "torchserve", [{"inference_url": "http://x", "token": "s3cret"}, {"token": ["s3cret"]}, {"token": {"is": "s3cret"}}]
)
def test_no_key_is_ever_printed_with_a_mistake(torchserve: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        read_settings(torchserve=torchserve)
    assert "s3cret" not in str(raised.value)


def test_a_file_that_is_no_toml_is_said(empty_folder: Path) -> None:
    (empty_folder / "torii.toml").write_text("http_port 8000")
    with pytest.raises(ConfigError, match=r"^torii\.toml: not TOML: "):
        read_settings()


def test_several_frontends_need_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert [read_settings().frontends, read_settings(frontends=4).frontends] == [1, 4]
    monkeypatch.setattr("sys.platform", "darwin")
    assert read_settings(frontends=1).frontends == 1
    with pytest.raises(ConfigError, match="frontends: expected 1 here: only Linux shares out"):
        read_settings(frontends=2)


@pytest.mark.parametrize("count", [0, 65, "many"])
def test_a_number_of_frontends_that_makes_no_sense_is_refused(count: object) -> None:
    with pytest.raises(ConfigError, match="frontends"):
        read_settings(frontends=count)
