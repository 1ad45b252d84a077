"""What can be set: the server's settings (torii.toml, TORII_… variables, flags) and a model's model.toml."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from adapters.base import BACKENDS, RUNTIMES_OWN, Batching, plain_backend
from adapters.tensors import DataType, Signature, TensorSpec
from gateway.types import Caching, Limits

SETTINGS_FILE = "torii.toml"
MAX_CONFIG_BYTES = 1 << 20
_LIMITS = Limits()
_NOT_TOML = (ValueError, RecursionError)  # nested without end, and numbers of thousands of digits, are neither


class ConfigError(Exception):
    """A setting is wrong; the text names file, key, what was expected and what was found."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _backend_name(value: object) -> object:
    if value in BACKENDS or (isinstance(value, str) and _VARIANT.fullmatch(value)):
        return value
    raise ValueError(
        f"expected one of {', '.join(BACKENDS)}, or a variant of {' or '.join(RUNTIMES_OWN)}, as tflite-int8"
    )


def _version_policy(value: object) -> object:
    if isinstance(value, str) and _POLICY.fullmatch(value):
        return value
    if isinstance(value, list | tuple) and all(type(each) is int and each > 0 for each in value):
        return tuple(value)
    raise ValueError('expected "all", "latest:N" or a list of version numbers')


def _device(value: object) -> object:
    if isinstance(value, str) and _DEVICE.fullmatch(value):
        return value
    raise ValueError('expected "cpu", "cuda" or "cuda:N"')


_DEVICE = re.compile(r"cpu|cuda(:[0-9]{1,3})?")
_VARIANT = re.compile(rf"(?:{'|'.join(RUNTIMES_OWN)})(?:-[a-z][a-z0-9]{{0,15}}){{1,2}}")
_POLICY = re.compile(r"all|latest:[1-9][0-9]{0,5}")
Policy = Annotated[str | tuple[int, ...], PlainValidator(_version_policy)]
BackendName = Annotated[str, BeforeValidator(_backend_name)]
Device = Annotated[str, BeforeValidator(_device)]
Positive = Annotated[int, Field(ge=1, strict=True)]
Instances = Annotated[int, Field(ge=1, le=256, strict=True)]
VersionNumber = Annotated[int, Field(ge=1, lt=10**18, strict=True)]
VersionKey = Annotated[int, Field(ge=1, lt=10**18)]  # the name of a table, which TOML gives as text


class TfServingSettings(_Strict):
    """How to reach a TF Serving that Torii does not start."""

    endpoint: str | None = Field(None, description="host:port of its gRPC API; Torii then starts none of its own")
    manage: bool = Field(
        False, description="let Torii replace that server's model configuration; it must see the same files"
    )

    @model_validator(mode="after")
    def _manages_something(self) -> Self:
        if self.manage and not self.endpoint:
            raise ValueError("manage is for a server that is given as endpoint; Torii's own is always managed")
        return self


class TorchServeSettings(_Strict):
    """How to reach a TorchServe that Torii does not start."""

    inference_url: str | None = Field(None, description="its inference API, as http://127.0.0.1:8080")
    management_url: str | None = Field(None, description="its management API, as http://127.0.0.1:8081")
    token: str | None = Field(None, description="the key that opens its inference API, where authorization is on")
    management_token: str | None = Field(None, description="the key that opens its management API, where that differs")
    model_store: Path | None = Field(
        None, description="its model store, where Torii may put archives; without it Torii registers nothing there"
    )

    @model_validator(mode="after")
    def _both_urls(self) -> Self:
        if bool(self.inference_url) != bool(self.management_url):
            raise ValueError("inference_url and management_url belong together: set both, or none")
        return self


class Settings(BaseSettings):
    """The server's settings. Flags win over TORII_… variables, and these over torii.toml."""

    model_config = SettingsConfigDict(
        env_prefix="TORII_",
        env_nested_delimiter="__",
        toml_file=SETTINGS_FILE,
        extra="forbid",
        frozen=True,
        protected_namespaces=(),  # model_… are settings of ours
    )

    repository: Path = Field(Path("model_repo"), description="the folder that holds the models")
    host: str = Field("127.0.0.1", description="address of the inference API")
    http_port: int = Field(8000, ge=0, le=65535, description="port of the inference API; 0 takes a free one")
    grpc_port: int = Field(8001, ge=0, le=65535, description="port of the inference gRPC API; 0 takes a free one")
    control_host: str = Field("127.0.0.1", description="address of the control API; it has no authorization of its own")
    control_port: int = Field(8002, ge=0, le=65535, description="port of the control API; 0 takes a free one")
    poll_s: float = Field(1.0, gt=0, description="seconds between two looks at the repository")
    settle_s: float = Field(2.0, ge=0, description="seconds for which a version's files must not have changed")
    load_timeout_s: float = Field(300.0, gt=0, description="seconds after which a load is given up")
    drain_timeout_s: float = Field(30.0, gt=0, description="seconds that running requests get before an unload or stop")
    max_body_bytes: int = Field(64 * 2**20, ge=1, description="the largest request body that is taken")
    allow_code: bool = Field(False, description="serve .mar archives, which bring Python code of their own")
    model_control: bool = Field(
        False, description="take load and unload on the inference ports as well, not only on the control port"
    )
    model_upload: bool = Field(False, description="take models and settings that come with a load by name")
    frontends: int = Field(
        1, ge=1, le=64, description="processes that answer requests on the inference ports; more than 1 on Linux only"
    )
    store: str | None = Field(
        None,
        description="where evidence of experiments is kept: sqlite:////PATH or postgresql://USER:PASSWORD@HOST/NAME; "
        "without it, a file in the user's state folder for each repository",
    )
    store_name: str | None = Field(
        None, description="this gateway's name among those that share a store; without it, host and control port"
    )
    edge: Path | None = Field(None, description="a folder that torii edge init made: it is served to devices")
    edge_host: str = Field("127.0.0.1", description="address of the edge server")
    edge_port: int = Field(8003, ge=0, le=65535, description="port of the edge server; 0 takes a free one")
    edge_keys: Path | None = Field(
        None, description="the folder of keys whose online ones sign timestamp and snapshot while it is served"
    )
    edge_token: str | None = Field(
        None, min_length=16, description="what opens the edge server's status to others than this machine"
    )
    edge_allow_origin: str | None = Field(
        None, description="whose web pages may ask the edge server: an origin as https://app.example, or *"
    )
    edge_demo: Path | None = Field(
        None, description="the browser's demo page, as `make browser-client` builds it: served under /edge/v1/demo/"
    )
    edge_poll_s: int = Field(3600, ge=1, le=10**7, description="seconds after which a device is told to ask again")
    edge_max_connections: int = Field(4096, ge=1, le=10**6, description="connections of the edge server, at most")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="how much is logged")
    tfserving: TfServingSettings = Field(default_factory=TfServingSettings)
    torchserve: TorchServeSettings = Field(default_factory=TorchServeSettings)

    @field_validator("frontends")
    @classmethod
    def _shares_ports(cls, frontends: int) -> int:
        if frontends > 1 and sys.platform != "linux":
            raise ValueError("expected 1 here: only Linux shares out a port's connections among processes")
        return frontends

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """Which sources there are, the strongest first."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def read_settings(**flags: Any) -> Settings:
    """Settings from flags (None = not given), environment and torii.toml; raises ConfigError."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigError(explain(f"settings (flags, TORII_…, {SETTINGS_FILE})", error)) from None
    except _NOT_TOML as error:
        raise ConfigError(f"{SETTINGS_FILE}: not TOML: {error}") from None


class _TensorConfig(_Strict):
    name: str
    datatype: DataType
    shape: tuple[Annotated[int, Field(ge=-1, strict=True)], ...]

    def spec(self) -> TensorSpec:
        return TensorSpec(self.name, self.datatype, tuple(None if size == -1 else size for size in self.shape))


class SignatureConfig(_Strict):
    """The tensors of the model, for formats that do not carry them (TorchScript); -1 is any size."""

    inputs: tuple[_TensorConfig, ...] = Field(min_length=1)
    outputs: tuple[_TensorConfig, ...] = Field(min_length=1)

    def signature(self) -> Signature:
        """As adapters know it."""
        return Signature(tuple(each.spec() for each in self.inputs), tuple(each.spec() for each in self.outputs))


class BatchingConfig(_Strict):
    """[batching]"""

    max_rows: Positive | None = None
    max_delay_ms: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    latency_target_ms: Annotated[float, Field(gt=0, le=3_600_000)] | None = None
    allowed_rows: tuple[Positive, ...] = ()

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        sizes = self.allowed_rows
        if list(sizes) != sorted(set(sizes)):
            raise ValueError("allowed_rows: expected sizes in ascending order, as in [1, 4, 16]")
        if sizes and self.max_rows is not None and sizes[-1] != self.max_rows:
            raise ValueError(f"allowed_rows: expected its largest size to be max_rows = {self.max_rows}")
        return self

    def batching(self) -> Batching:
        """As adapters know it."""
        largest = self.allowed_rows[-1] if self.allowed_rows else None
        return Batching(self.max_rows or largest, self.max_delay_ms, self.latency_target_ms, self.allowed_rows)


class CacheConfig(_Strict):
    """[cache]"""

    max_bytes: Annotated[int, Field(ge=0, le=2**40, strict=True)] = 0
    join: bool = False

    def caching(self) -> Caching:
        """As the data plane knows it."""
        return Caching(self.max_bytes, self.join)


class LimitsConfig(_Strict):
    """[limits]"""

    max_in_flight: Annotated[int, Field(ge=1, le=10**6, strict=True)] = _LIMITS.max_in_flight
    max_queue: Annotated[int, Field(ge=0, le=10**6, strict=True)] = _LIMITS.max_queue
    timeout_ms: Annotated[int, Field(ge=1, le=24 * 3600 * 1000, strict=True)] = _LIMITS.timeout_ms

    def limits(self) -> Limits:
        """As the data plane knows them."""
        return Limits(self.max_in_flight, self.max_queue, self.timeout_ms)


class OnnxRuntimeConfig(_Strict):
    """[backend.onnxruntime]"""

    instances: Instances | None = None
    intra_op_threads: Positive | None = None
    execution_providers: tuple[str, ...] | None = None


class TfliteConfig(_Strict):
    """[backend.tflite]"""

    instances: Instances | None = None
    threads: Positive | None = None
    xnnpack: Annotated[bool, Field(strict=True)] | None = None


class TfServingConfig(_Strict):
    """[backend.tfserving]"""

    signature_name: str | None = None


class TorchServeConfig(_Strict):
    """[backend.torchserve]"""

    workers: Positive | None = None
    response_timeout_s: Positive | None = None
    threads: Positive | None = None
    device: Device | None = None


class BackendConfig(_Strict):
    """[backend.NAME]: options of one backend."""

    onnxruntime: OnnxRuntimeConfig = OnnxRuntimeConfig()
    tflite: TfliteConfig = TfliteConfig()
    tfserving: TfServingConfig = TfServingConfig()
    torchserve: TorchServeConfig = TorchServeConfig()

    def options(self, backend: str) -> dict[str, Any]:
        """The options that are set for a backend; a variant has those of its plain one."""
        config = getattr(self, plain_backend(backend), None)
        return config.model_dump(exclude_none=True, mode="json") if isinstance(config, BaseModel) else {}


class VersionNotes(_Strict):
    """[version.N]: what people want to know of a version; serving does not depend on it."""

    description: str = ""
    framework: str = ""
    test_accuracy: Annotated[float, Field(ge=0, le=1, strict=True)] | None = None


class ModelConfig(_Strict):
    """model.toml. Every key has a default; an unknown one is an error."""

    description: str = ""
    backends: tuple[BackendName, ...] | None = None
    versions: Policy = "all"
    batching: BatchingConfig = BatchingConfig()
    limits: LimitsConfig = LimitsConfig()
    cache: CacheConfig = CacheConfig()
    backend: BackendConfig = BackendConfig()
    signature: SignatureConfig | None = None
    version: dict[VersionKey, VersionNotes] = Field(default_factory=dict)


def read_model_config(text: str, file: str) -> ModelConfig:
    """Parse the text of a model.toml; `file` is how errors call it.

    Raises:
        ConfigError: names file, key, what was expected and what was found.
    """
    try:
        return ModelConfig.model_validate(tomllib.loads(text))
    except ValidationError as error:
        raise ConfigError(explain(file, error)) from None
    except _NOT_TOML as error:
        raise ConfigError(f"{file}: not TOML: {error}") from None


class _Labels(_Strict):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, VersionNumber] = Field(init=False)


def read_labels(text: str, file: str) -> dict[str, int]:
    """Parse the text of a labels.toml (`stable = 1`); raises ConfigError."""
    try:
        return dict(_Labels.model_validate(tomllib.loads(text)).__pydantic_extra__)
    except ValidationError as error:
        raise ConfigError(explain(file, error)) from None
    except _NOT_TOML as error:
        raise ConfigError(f"{file}: not TOML: {error}") from None


def explain(file: str, error: ValidationError) -> str:
    """Every mistake in a file's text, or in a document of its form: file, key, what was expected, what was found."""
    mistakes: dict[str, list[str]] = {}
    for detail in error.errors():
        key = ".".join(f"{part!s:.80}" for part in detail["loc"]) or "(all of it)"
        shows = detail["type"] != "missing" and not isinstance(detail["input"], dict) and "token" not in key
        found = f", found {detail['input']!r:.100}" if shows else ""  # a table may hold a key to a server
        text = (
            "this key is unknown"
            if detail["type"] == "extra_forbidden"
            else detail["msg"].removeprefix("Value error, ")
        )
        mistakes.setdefault(key, []).append(text + found)
    return "; ".join(f"{file}: {key}: {' or '.join(texts)}" for key, texts in mistakes.items())
