"""tritonclient against a gateway whose models clients may not load and unload: the default."""

from __future__ import annotations

import tritonclient.grpc
import tritonclient.http
from cases import Gateway, run
from samples import refused


def http_clients_cannot_load_or_unload(gateway: Gateway) -> None:
    client = tritonclient.http.InferenceServerClient(gateway.http)
    for act in (client.unload_model, client.load_model):
        with refused("403", says=("model_control",)):
            act("digits")
    assert client.is_model_ready("digits")


def grpc_clients_cannot_load_or_unload(gateway: Gateway) -> None:
    client = tritonclient.grpc.InferenceServerClient(gateway.grpc)
    for act in (client.unload_model, client.load_model):
        with refused("StatusCode.PERMISSION_DENIED", says=("model_control",)):
            act("digits")
    assert client.is_model_ready("digits")


if __name__ == "__main__":
    run(globals())
