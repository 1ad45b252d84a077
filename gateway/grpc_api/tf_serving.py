"""TF Serving over gRPC, where its messages are installed."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

from gateway.dataplane import DataPlane

_log = logging.getLogger(__name__)

_NEEDED = ("tensorflow", "tensorflow_serving")


def services(dataplane: DataPlane) -> list[Any]:
    """The handlers of `tensorflow.serving.PredictionService` and `.ModelService`; none where nobody can speak it."""
    missing = [module for module in _NEEDED if find_spec(module) is None]
    if missing:
        _log.debug("TF Serving's gRPC is left out: %s is not installed", " and ".join(missing))
        return []
    from gateway.grpc_api.tf_serving_services import handlers

    return handlers(dataplane)
