"""Torii's client for devices: a model that is fetched, verified, checked, swapped and taken back by itself."""

from torii_edge.device import Device
from torii_edge.errors import Busy, EdgeError, NoSpace, NotInstalled, Offline, Refused, Unfit
from torii_edge.installed import InstalledModel
from torii_edge.limits import Limits
from torii_edge.model import EdgeModel
from torii_edge.updating import Outcome, Update

__all__ = [
    "Busy",
    "Device",
    "EdgeError",
    "EdgeModel",
    "InstalledModel",
    "Limits",
    "NoSpace",
    "NotInstalled",
    "Offline",
    "Outcome",
    "Refused",
    "Unfit",
    "Update",
]
