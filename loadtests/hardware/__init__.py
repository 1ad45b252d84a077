"""The machine as a dimension of what is measured: what it is, what else it does, what a model can be run on here."""

from loadtests.hardware.choices import Setting, settings
from loadtests.hardware.machine import fingerprint
from loadtests.hardware.noise import Watch, marks

__all__ = ["Setting", "Watch", "fingerprint", "marks", "settings"]
