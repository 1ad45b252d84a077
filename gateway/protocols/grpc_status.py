"""The one table from errors to gRPC's status codes, for every protocol that has a gRPC form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import grpc

from adapters import errors as floor
from adapters.errors import ServingError
from gateway import errors

GRPC_STATUS: Final[Mapping[type[ServingError], grpc.StatusCode]] = {
    floor.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotAllowed: grpc.StatusCode.PERMISSION_DENIED,
    errors.ModelNotFound: grpc.StatusCode.NOT_FOUND,
    errors.Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RequestTooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    floor.InferenceFailed: grpc.StatusCode.INTERNAL,
    errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    floor.BackendUnavailable: grpc.StatusCode.UNAVAILABLE,
    floor.BackendDied: grpc.StatusCode.UNAVAILABLE,
    errors.VersionNotReady: grpc.StatusCode.UNAVAILABLE,
    floor.LoadFailed: grpc.StatusCode.UNAVAILABLE,
    floor.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""Every error's status; a test keeps it complete."""
