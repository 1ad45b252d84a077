"""The embedded server: a TF Serving for machines without one, over gRPC, with the flags of `tensorflow_model_server`.

It differs from the real one on purpose in four things: it binds the loopback interface or a Unix socket only;
HandleReloadConfigRequest returns before the new models are loaded; it looks for versions when it is configured and not
every second; and it has no REST API, no batching and no warm-up requests, all of which the gateway does itself.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import grpc
from google.protobuf import text_format

from adapters.tfserving import inference
from adapters.tfserving.libtensorflow import LibTensorFlow, TensorFlowError
from adapters.tfserving.protos import (
    classification_pb2,
    config_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_server_config_pb2,
    predict_pb2,
    regression_pb2,
    tensorflow_folders,
)
from adapters.tfserving.saved_model import SavedModel
from adapters.tfserving.servables import Refused, Servable, ServableId, Servables
from adapters.tfserving.versions import describe_embedded

_log = logging.getLogger(__name__)

_STOP_GRACE_S = 2.0
_TEXT_CHARACTERS = 2000  # gRPC refuses a status whose text does not fit into its headers' 8 kB
_CODES = {code.value[0]: code for code in grpc.StatusCode}

Act: TypeAlias = Callable[[Any], Any]


class PredictionService:
    """tensorflow.serving.PredictionService."""

    def __init__(self, servables: Servables) -> None:
        self._servables = servables

    def methods(self) -> dict[str, tuple[Act, Any]]:
        """Each method's act and the type of its request."""
        return {
            "Predict": (self._leased(inference.predict), predict_pb2.PredictRequest),
            "Classify": (self._leased(inference.classify), classification_pb2.ClassificationRequest),
            "Regress": (self._leased(inference.regress), regression_pb2.RegressionRequest),
            "MultiInference": (self.infer_multiple, inference_pb2.MultiInferenceRequest),
            "GetModelMetadata": (self._leased(_metadata), get_model_metadata_pb2.GetModelMetadataRequest),
        }

    def infer_multiple(self, request: Any) -> Any:
        """Run all tasks on the version that the first one names."""
        if not request.tasks:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "Inference request must have at least one task.")
        with self._servables.lease(request.tasks[0].model_spec) as servable:
            return inference.infer_multiple(servable, request)

    def _leased(self, act: Callable[[Servable, Any], Any]) -> Act:
        def run(request: Any) -> Any:
            if not request.HasField("model_spec"):
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")
            with self._servables.lease(request.model_spec) as servable:
                return act(servable, request)

        return run


def _metadata(servable: Servable, request: Any) -> Any:
    if not request.metadata_field:
        text = "GetModelMetadataRequest must specify at least one metadata_field"
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, text)
    for field in request.metadata_field:
        if field != "signature_def":
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"Metadata field {field} is not supported")
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.model.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = servable.id.name
    response.model_spec.version.value = servable.id.version
    response.metadata["signature_def"].Pack(signatures)
    return response


class ModelService:
    """tensorflow.serving.ModelService."""

    def __init__(self, servables: Servables) -> None:
        self._servables = servables

    def methods(self) -> dict[str, tuple[Act, Any]]:
        """Each method's act and the type of its request."""
        return {
            "GetModelStatus": (self.status, get_model_status_pb2.GetModelStatusRequest),
            "HandleReloadConfigRequest": (self.reload, model_management_pb2.ReloadConfigRequest),
        }

    def status(self, request: Any) -> Any:
        """The states of one version, or of all versions of a model."""
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        response = get_model_status_pb2.GetModelStatusResponse()
        for servable in self._servables.states(spec.name, version):
            status = response.model_version_status.add(version=servable.id.version, state=int(servable.state))
            status.status.error_code = servable.error.code if servable.error else 0
            status.status.error_message = str(servable.error or "")
        return response

    def reload(self, request: Any) -> Any:
        """Replace the whole configuration."""
        self.configure(request.config)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = 0
        return response

    def configure(self, config: Any) -> None:
        """Serve what a ModelServerConfig lists; raises Refused."""
        if config.WhichOneof("config") != "model_config_list":
            text = "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is"
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"{text} currently supported")
        wanted: dict[ServableId, Path] = {}
        labels: dict[tuple[str, str], int] = {}
        names = set()
        for model in config.model_config_list.config:
            if model.name in names:
                text = f"Illegal to list model {model.name} multiple times in config list"
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, text)
            names.add(model.name)
            folders = version_folders(Path(model.base_path), model.model_version_policy)
            wanted |= {ServableId(model.name, version): folder for version, folder in folders.items()}
            labels |= {(model.name, label): version for label, version in model.version_labels.items()}
        self._servables.configure(wanted, labels)


def version_folders(base: Path, policy: Any) -> dict[int, Path]:
    """The versions below a base path that a ServableVersionPolicy chooses; without one, the latest."""
    try:
        found = {int(folder.name): folder for folder in base.iterdir() if _is_number(folder.name)}
    except OSError as error:
        _log.error("Could not find base path %s: %s", base, error)
        return {}
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return found
    if choice == "specific":
        return {version: folder for version, folder in found.items() if version in policy.specific.versions}
    newest = sorted(found, reverse=True)[: max(policy.latest.num_versions, 1)]
    return {version: found[version] for version in newest}


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def handlers(service: str, methods: Mapping[str, tuple[Act, Any]]) -> Any:
    """The gRPC handlers for a service's acts, whose errors become statuses."""
    return grpc.method_handlers_generic_handler(
        service,
        {
            name: grpc.unary_unary_rpc_method_handler(
                _answering(act),
                request_deserializer=request_type.FromString,
                response_serializer=lambda response: response.SerializeToString(),
            )
            for name, (act, request_type) in methods.items()
        },
    )


def _answering(act: Act) -> Callable[[Any, Any], Any]:
    def answer(request: Any, context: Any) -> Any:
        try:
            return act(request)
        except Refused as refused:
            code, text = refused.code, refused.text
        except TensorFlowError as error:
            code, text = _CODES.get(error.code, grpc.StatusCode.UNKNOWN), str(error)
        except Exception:  # noqa: BLE001  # one request's failure is not the server's
            _log.exception("a request failed")
            code, text = grpc.StatusCode.INTERNAL, "internal error; see the server's log"
        return context.abort(code, text[:_TEXT_CHARACTERS])  # it raises

    return answer


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("adapters.tfserving.embedded", description=__doc__)
    threads = max(8, 4 * (os.cpu_count() or 1))
    parser.add_argument("--port", type=int, default=8500, help="loopback TCP port for gRPC; 0: none")
    parser.add_argument("--grpc_socket_path", default="", help="Unix socket for gRPC")
    parser.add_argument("--grpc_max_threads", type=int, default=threads, help="requests answered at once")
    parser.add_argument("--model_config_file", type=Path, help="a ModelServerConfig in protobuf's text format")
    parser.add_argument("--model_name", default="default", help="the model's name, without --model_config_file")
    parser.add_argument("--model_base_path", type=Path, help="its base path")
    parser.add_argument("--num_load_threads", type=int, default=4, help="models loaded at once")
    parser.add_argument("--tensorflow_intra_op_parallelism", type=int, default=0, help="threads within an operation")
    parser.add_argument("--tensorflow_inter_op_parallelism", type=int, default=0, help="operations run at once")
    parser.add_argument("--version", action="version", version=describe_embedded())
    arguments, others = parser.parse_known_args(argv)
    if others:
        _log.info("without effect here: %s", " ".join(others))
    return arguments


def _initial_config(arguments: argparse.Namespace) -> Any:
    config = model_server_config_pb2.ModelServerConfig()
    if arguments.model_config_file:
        text_format.Parse(arguments.model_config_file.read_text(), config)
    else:
        config.model_config_list.SetInParent()
    if arguments.model_base_path:
        config.model_config_list.config.add(name=arguments.model_name, base_path=str(arguments.model_base_path))
    return config


def _listen(server: Any, arguments: argparse.Namespace) -> None:
    addresses = [f"127.0.0.1:{arguments.port}"] if arguments.port else []
    addresses += [f"unix:{arguments.grpc_socket_path}"] if arguments.grpc_socket_path else []
    if not addresses:
        raise SystemExit("expected --port or --grpc_socket_path, got neither")
    for address in addresses:
        server.add_insecure_port(address)  # raises RuntimeError where the address is taken
    server.start()
    _log.info("%s listens on %s", describe_embedded(), ", ".join(addresses))


def _session_config(arguments: argparse.Namespace) -> bytes:
    config = config_pb2.ConfigProto(
        intra_op_parallelism_threads=arguments.tensorflow_intra_op_parallelism,
        inter_op_parallelism_threads=arguments.tensorflow_inter_op_parallelism,
        allow_soft_placement=True,  # models saved on a machine with a GPU
    )
    serialized: bytes = config.SerializeToString()
    return serialized


def main(argv: Sequence[str]) -> None:
    """Serve until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    arguments = _arguments(argv)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read by the library when it is loaded
    library, config = LibTensorFlow(tensorflow_folders()), _session_config(arguments)
    servables = Servables(lambda path: SavedModel(library, path, config), arguments.num_load_threads)
    models = ModelService(servables)
    models.configure(_initial_config(arguments))
    unlimited = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
    server = grpc.server(ThreadPoolExecutor(arguments.grpc_max_threads), options=[*unlimited, ("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(
        (
            handlers("tensorflow.serving.PredictionService", PredictionService(servables).methods()),
            handlers("tensorflow.serving.ModelService", models.methods()),
        )
    )
    _listen(server, arguments)
    stopping.wait()
    server.stop(_STOP_GRACE_S).wait()
    os._exit(0)  # a model that is still loading must not hold up the exit, and the kernel frees the others faster


if __name__ == "__main__":
    main(sys.argv[1:])
