"""Predict, Classify, Regress and MultiInference over a loaded model, with TF Serving's own checks and texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from adapters.errors import InvalidInput
from adapters.tensors import Tensor
from adapters.tfserving.protos import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
    types_pb2,
)
from adapters.tfserving.servables import Refused, Servable
from adapters.tfserving.tensor_proto import decode, encode_values

DEFAULT_SIGNATURE = "serving_default"
METHOD_PREDICT = "tensorflow/serving/predict"
METHOD_CLASSIFY = "tensorflow/serving/classify"
METHOD_REGRESS = "tensorflow/serving/regress"


def predict(servable: Servable, request: Any) -> Any:
    """The PredictResponse to a PredictRequest; raises Refused, TensorFlowError."""
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.model.signatures.get(name)
    if signature is None:
        raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    feeds = _feeds(signature, request.inputs)
    aliases = _chosen_outputs(signature, request.output_filter)
    response = predict_pb2.PredictResponse()
    _name_served(response.model_spec, servable, name)
    tensors = servable.model.run(feeds, [signature.outputs[alias].name for alias in aliases])
    for alias, tensor in zip(aliases, tensors, strict=True):
        encode_values(tensor, response.outputs[alias])
    return response


def classify(servable: Servable, request: Any) -> Any:
    """The ClassificationResponse to a ClassificationRequest; raises Refused, TensorFlowError."""
    signature = _signature_for(servable, request.model_spec.signature_name, METHOD_CLASSIFY, "classification")
    fetches = _class_tensors(signature)
    examples = _examples(request.input)
    outputs = _run_examples(servable, signature, examples, fetches)
    response = classification_pb2.ClassificationResponse()
    _name_served(response.model_spec, servable, request.model_spec.signature_name or DEFAULT_SIGNATURE)
    _write_classes(signature, outputs, len(examples), response.result)
    return response


def regress(servable: Servable, request: Any) -> Any:
    """The RegressionResponse to a RegressionRequest; raises Refused, TensorFlowError."""
    signature = _signature_for(servable, request.model_spec.signature_name, METHOD_REGRESS, "regression")
    fetches = _value_tensors(signature)
    examples = _examples(request.input)
    outputs = _run_examples(servable, signature, examples, fetches)
    response = regression_pb2.RegressionResponse()
    _name_served(response.model_spec, servable, request.model_spec.signature_name or DEFAULT_SIGNATURE)
    _write_values(signature, outputs, len(examples), response.result)
    return response


def infer_multiple(servable: Servable, request: Any) -> Any:
    """The MultiInferenceResponse: several signatures that read the same input, run at once."""
    signatures = _task_signatures(servable, request.tasks)
    if len({signature.inputs["inputs"].name for signature in signatures}) != 1:
        raise _invalid("Input tensor must be the same for all Signatures.")
    fetches = sorted({output.name for signature in signatures for output in signature.outputs.values()})
    examples = _examples(request.input)
    outputs = _run_examples(servable, signatures[0], examples, fetches)
    response = inference_pb2.MultiInferenceResponse()
    for task, signature in zip(request.tasks, signatures, strict=True):
        result = response.results.add()
        _name_served(result.model_spec, servable, task.model_spec.signature_name or DEFAULT_SIGNATURE)
        if task.method_name == METHOD_CLASSIFY:
            _write_classes(signature, outputs, len(examples), result.classification_result)
        else:
            _write_values(signature, outputs, len(examples), result.regression_result)
    return response


def _feeds(signature: Any, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    if len(inputs) != len(signature.inputs):
        sent, known = set(inputs), set(signature.inputs)
        raise _invalid(
            f"input size does not match signature: {len(sent)}!={len(known)} len({_braces(sent)}) != "
            f"len({_braces(known)}). Sent extra: {_braces(sent - known)}. "
            f"Missing but required: {_braces(known - sent)}."
        )
    feeds: dict[str, Tensor] = {}
    for alias, proto in inputs.items():
        if alias not in signature.inputs:
            raise _invalid(
                f"input tensor alias not found in signature: {alias}. "
                f"Inputs expected to be in the set {_braces(signature.inputs)}."
            )
        info = signature.inputs[alias]
        feeds[info.name] = _checked(alias, info, proto)
    return feeds


def _checked(alias: str, info: Any, proto: Any) -> Tensor:
    if proto.dtype != info.dtype:
        expected, got = types_pb2.DataType.Name(info.dtype), proto.dtype
        got = types_pb2.DataType.Name(got) if got in types_pb2.DataType.values() else got
        raise _invalid(f"input {alias}: expected {expected}, got {got}")
    try:
        tensor = decode(proto)
    except InvalidInput as error:
        raise _invalid(f"tensor parsing error: {alias}: {error}") from error
    sizes = [dimension.size for dimension in info.tensor_shape.dim]
    fits = len(sizes) == tensor.ndim and all(a in (-1, b) for a, b in zip(sizes, tensor.shape, strict=True))
    if not info.tensor_shape.unknown_rank and not fits:
        raise _invalid(f"input {alias}: expected shape {sizes}, got {list(tensor.shape)}")
    return tensor


def _chosen_outputs(signature: Any, chosen: Sequence[str]) -> list[str]:
    for alias in chosen:
        if alias not in signature.outputs:
            raise _invalid(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {_braces(signature.outputs)}."
            )
        if list(chosen).count(alias) > 1:
            raise _invalid(f"duplicate output tensor alias: {alias}")
    return list(chosen) or sorted(signature.outputs)


def _signature_for(servable: Servable, name: str, method: str, kind: str) -> Any:
    name = name or DEFAULT_SIGNATURE
    signature = servable.model.signatures.get(name)
    if signature is None:
        raise _invalid(f"No signature was found with the name: {name}")
    if signature.method_name != method:
        raise _invalid(f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}")
    return signature


def _task_signatures(servable: Servable, tasks: Sequence[Any]) -> list[Any]:
    names = [task.model_spec.signature_name or DEFAULT_SIGNATURE for task in tasks]
    if len({task.model_spec.name for task in tasks}) != 1:
        raise _invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
    signatures = []
    for task, name in zip(tasks, names, strict=True):
        if names.count(name) > 1:
            raise _invalid(f"Duplicate evaluation of signature: {name}")
        if task.method_name == METHOD_CLASSIFY:
            signature = _signature_for(servable, name, METHOD_CLASSIFY, "classification")
            _class_tensors(signature)
        elif task.method_name == METHOD_REGRESS:
            signature = _signature_for(servable, name, METHOD_REGRESS, "regression")
            _value_tensors(signature)
        else:
            text = f"Unsupported signature method_name: {task.method_name}"
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, text)
        signatures.append(signature)
    return signatures


def _class_tensors(signature: Any) -> list[str]:
    """The tensors to fetch for a classification; raises Refused where the signature is not made like one."""
    _check_one_input(signature, "classification")
    found = [signature.outputs[alias].name for alias in ("classes", "scores") if alias in signature.outputs]
    if not found:
        text = 'Expected classification signature outputs to contain at least one of "classes" or "scores".'
        raise Refused(grpc.StatusCode.FAILED_PRECONDITION, text)
    return found


def _value_tensors(signature: Any) -> list[str]:
    _check_one_input(signature, "regression")
    if len(signature.outputs) != 1:
        raise _invalid("Expected one output Tensor.")
    if "outputs" not in signature.outputs:
        raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "No regression outputs found in SignatureDef")
    return [signature.outputs["outputs"].name]


def _check_one_input(signature: Any, kind: str) -> None:
    if len(signature.inputs) != 1:
        raise _invalid("Expected one input Tensor.")
    if "inputs" not in signature.inputs:
        raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f"No {kind} inputs found in SignatureDef")


def _examples(proto: Any) -> list[bytes]:
    """The serialised tf.Examples of an Input, the context's features merged into each: that is concatenation."""
    kind = proto.WhichOneof("kind")
    if kind == "example_list":
        examples = [example.SerializeToString() for example in proto.example_list.examples]
    elif kind == "example_list_with_context":
        context = proto.example_list_with_context.context.SerializeToString()
        examples = [context + each.SerializeToString() for each in proto.example_list_with_context.examples]
    else:
        examples = []
    if not examples:
        raise _invalid("Input is empty.")
    return examples


def _run_examples(
    servable: Servable, signature: Any, examples: Sequence[bytes], fetches: Sequence[str]
) -> dict[str, Tensor]:
    batch = np.fromiter(examples, np.object_, len(examples))
    tensors = servable.model.run({signature.inputs["inputs"].name: batch}, fetches)
    return dict(zip(fetches, tensors, strict=True))


def _write_classes(signature: Any, outputs: Mapping[str, Tensor], count: int, into: Any) -> None:
    found: dict[str, Tensor] = {}
    for alias, dtype in (("classes", np.object_), ("scores", np.float32)):
        if alias in signature.outputs:
            tensor = found[alias] = outputs[signature.outputs[alias].name]
            if tensor.ndim != 2:
                raise _invalid(f"Expected Tensor shape: [batch_size num_classes] but got {list(tensor.shape)}")
            if tensor.dtype != dtype or len(tensor) != count:
                raise _invalid(f"Expected {alias} output of batch size {count}. Got: {len(tensor)}, {tensor.dtype}")
    if len({tensor.shape for tensor in found.values()}) > 1:
        raise _invalid("Tensors class and score should match in dim_size(1).")
    classes, scores = found.get("classes"), found.get("scores")
    into.SetInParent()
    for row in range(count):
        result = into.classifications.add()
        for column in range(next(iter(found.values())).shape[1]):
            result.classes.add(
                label=None if classes is None else classes[row, column].decode(errors="replace"),
                score=None if scores is None else scores[row, column],
            )


def _write_values(signature: Any, outputs: Mapping[str, Tensor], count: int, into: Any) -> None:
    tensor = outputs[signature.outputs["outputs"].name]
    if tensor.ndim != 1 and not (tensor.ndim == 2 and tensor.shape[1] == 1):
        raise _invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {list(tensor.shape)}"
        )
    if len(tensor) != count or tensor.dtype != np.float32:
        raise _invalid(f"Expected DT_FLOAT output batch size to be {count}. Got: {len(tensor)}, {tensor.dtype}")
    into.SetInParent()
    for value in tensor.ravel():
        into.regressions.add(value=value)


def _name_served(spec: Any, servable: Servable, signature_name: str) -> None:
    spec.name = servable.id.name
    spec.version.value = servable.id.version
    spec.signature_name = signature_name


def _invalid(text: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, text)


def _braces(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
