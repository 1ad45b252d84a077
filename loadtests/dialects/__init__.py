"""The dialects that a gateway speaks: tensors to a request, an answer to tensors."""

from loadtests.dialects.dialect import DIALECTS, Dialect
from loadtests.dialects.reply import Reply, WrongAnswer, probe

__all__ = ["DIALECTS", "Dialect", "Reply", "WrongAnswer", "probe"]
