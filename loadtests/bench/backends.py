"""What Torii adds in front of TF Serving and TorchServe: the very same process answers with it and without it.

Torii changes nothing in either: it finds the models that they serve under the names that direct clients use.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from functools import partial

import numpy as np

from loadtests.bench import answers, archives, payloads, servers
from loadtests.bench.answers import Answer
from loadtests.bench.comparisons import ADDED, Benchmark, Goal, Part
from loadtests.bench.contenders import Contender
from loadtests.bench.processes import ROOT, Place
from loadtests.bench.torchserve import torchserve

_TF, _TF_TORII = "TF Serving (embedded)", "TF Serving through Torii"
_TORCH, _TORCH_TORII = "TorchServe", "TorchServe through Torii"
_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_IMAGE = (np.arange(64) / 4).astype(np.float32).reshape(1, 8, 8)


def _parts(place: Place) -> list[Part]:
    return [Part("all", partial(_start, place))]


@contextlib.contextmanager
def _start(place: Place) -> Iterator[list[Contender]]:
    repository, bare = place.folder / "repository", place.folder / "bare"
    saved_model = ROOT / "model_repo" / "digits" / "1" / "saved_model"
    shutil.copytree(saved_model, repository / "digits" / "1" / "saved_model")
    shutil.copytree(saved_model, bare / "digits" / "1")  # TF Serving's own layout
    archives.write_answer(bare / "answer.mar", "answer")
    archives.write_answer(repository / "answer" / "1" / "model.mar", "answer")
    with (
        servers.embedded_tf_serving(place, "digits", bare / "digits") as tf_serving,
        torchserve(place, "answer", bare / "answer.mar") as (torch, management),
        servers.torii(
            place,
            repository,
            ["digits", "answer"],
            TFSERVING__ENDPOINT=f"127.0.0.1:{tf_serving.grpc_port}",
            TORCHSERVE__INFERENCE_URL=f"http://127.0.0.1:{torch.http_port}",
            TORCHSERVE__MANAGEMENT_URL=management,
            ALLOW_CODE="true",
        ) as torii,
    ):
        message, path, body = payloads.tf_serving_grpc("digits", "image", _IMAGE), "/predictions/answer", b"{}"
        answer = Answer(answers.json_values("answer"), np.array([42], np.float32))
        yield [
            Contender(_TF, _TF, (tf_serving,), _PREDICT, message, grpc=True),
            Contender(_TF_TORII, _TF, (torii, tf_serving), _PREDICT, message, grpc=True),
            Contender(_TORCH, _TORCH, (torch,), path, body, payloads.JSON, answer=answer),
            Contender(_TORCH_TORII, _TORCH, (torii, torch), path, body, payloads.JSON, answer=answer),
        ]


BENCHMARK = Benchmark(
    "The same backend's answer directly and through Torii; added: p50 less the direct one",
    (1,),
    ADDED,
    tuple(
        Goal(name, direct, 1, ADDED, at_least=False, bound=0.5)
        for name, direct in ((_TF_TORII, _TF), (_TORCH_TORII, _TORCH))
    ),
    _parts,
)
