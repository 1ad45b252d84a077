"""SavedModels: the signature that Torii serves; with fixed shapes where asked for, and in TensorFlow 2's form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from adapters.export.steps.job import Job, Refusal, first_lines

_PREFERRED = ("serving_default", "predict")
_PREDICT = "tensorflow/serving/predict"
_TAG = "serve"


@dataclass(frozen=True, slots=True)
class Served:
    """A signature that can be called by names; `owner` keeps its variables alive."""

    call: Callable[..., Any]
    specs: tuple[tf.TensorSpec, ...]
    owner: Any


def prepared(job: Job, folder: Path) -> Path:
    """The SavedModel itself where converters take it as it is; else one like it, written to `folder`.

    That is where fixed shapes were asked for, and where TensorFlow 1 wrote it: its variables are frozen.
    """
    of_tf1 = any("VariableV2" in (node.op for node in graph.graph_def.node) for graph in meta_graphs(job.source))
    if not of_tf1 and not job.fixed:
        return job.source
    served = _frozen(job.source) if of_tf1 else _loaded(job.source)
    names = [spec.name for spec in served.specs]
    if unknown := [key for key in job.shapes if key not in names]:
        raise Refusal(f"--shape {unknown[0]}=…: the model has no such input, but {', '.join(names)}")
    specs = [_wanted(job, spec) for spec in served.specs]
    module = tf.Module()
    module.owner = served.owner
    module.call = tf.function(
        lambda *tensors: served.call(**dict(zip(names, tensors, strict=True))), input_signature=specs
    )
    tf.saved_model.save(module, str(folder), {"serving_default": module.call})
    return folder


def signature_name(folder: Path) -> str:
    """The name of the signature to convert, chosen as for serving; raises Refusal where there is none."""
    found: dict[str, str] = {
        key: each.method_name for graph in meta_graphs(folder) for key, each in graph.signature_def.items()
    }
    for name in (*_PREFERRED, *sorted(found)):
        if name in found and (name in _PREFERRED or found[name] == _PREDICT):
            return name
    raise Refusal(f"the SavedModel has no signature to convert, only {', '.join(sorted(found)) or 'none'}")


def meta_graphs(folder: Path) -> list[Any]:
    """The graphs for serving; raises Refusal where the file cannot be read or has none."""
    content = saved_model_pb2.SavedModel()
    try:
        content.ParseFromString((folder / "saved_model.pb").read_bytes())
    except Exception as error:
        raise Refusal(f"{folder.name}/saved_model.pb cannot be read: {first_lines(error)}") from error
    tagged = [graph for graph in content.meta_graphs if _TAG in graph.meta_info_def.tags]
    if not tagged:
        raise Refusal(f"the SavedModel has no graph with the tag '{_TAG}'")
    return tagged


def layers_of(folder: Path, operators: Iterable[str]) -> dict[str, list[str]]:
    """The nodes of these operators, by operator."""
    found: dict[str, list[str]] = {operator: [] for operator in operators}
    for graph in meta_graphs(folder):
        functions = graph.graph_def.library.function
        for nodes in (graph.graph_def.node, *(function.node_def for function in functions)):
            for node in nodes:
                if node.op in found:
                    found[node.op].append(node.name)
    return found


def _loaded(folder: Path) -> Served:
    try:
        model = tf.saved_model.load(str(folder))
    except Exception as error:
        raise Refusal(f"{folder.name}/ cannot be read by TensorFlow {tf.__version__}: {first_lines(error)}") from error
    function = model.signatures[signature_name(folder)]
    inputs = function.structured_input_signature[1]
    return Served(
        function, tuple(tf.TensorSpec(each.shape, each.dtype, name=key) for key, each in inputs.items()), model
    )


def _frozen(folder: Path) -> Served:
    """The signature with variables as constants: the TFLite converter does not know TensorFlow 1's."""
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        try:
            meta = v1.saved_model.load(session, [_TAG], str(folder))
        except Exception as error:
            raise Refusal(f"{folder.name}/ cannot be read by TensorFlow: {first_lines(error)}") from error
        signature = meta.signature_def[signature_name(folder)]
        nodes = [each.name.split(":")[0] for each in signature.outputs.values()]
        graph = v1.graph_util.convert_variables_to_constants(session, session.graph_def, nodes)
    whole = v1.wrap_function(lambda: v1.import_graph_def(graph, name=""), [])
    tensor = whole.graph.get_tensor_by_name
    names = sorted(signature.inputs)
    outputs = {key: tensor(each.name) for key, each in signature.outputs.items()}
    pruned = whole.prune([tensor(signature.inputs[name].name) for name in names], outputs)
    infos = [signature.inputs[name] for name in names]
    specs = tuple(
        tf.TensorSpec(info.tensor_shape, tf.dtypes.as_dtype(info.dtype), name=name)
        for name, info in zip(names, infos, strict=True)
    )
    return Served(lambda **tensors: pruned(*(tensors[name] for name in names)), specs, pruned)


def _wanted(job: Job, spec: tf.TensorSpec) -> tf.TensorSpec:
    if not job.fixed:
        return spec
    if spec.shape.rank is None:
        raise Refusal(f"input '{spec.name}' of the SavedModel has no rank; export it with one")
    return tf.TensorSpec(job.fixed_shape(spec.name, spec.shape.as_list()), spec.dtype, name=spec.name)
