"""tf.Examples, as TF Serving's Classify and Regress take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Features: TypeAlias = Mapping[str, Sequence[int] | Sequence[float] | Sequence[bytes]]
"""Values of one kind under each feature's name; integers fit INT64 and floats FP32."""


def write_examples(examples: Sequence[Features], context: Features | None, into: Any) -> None:
    """Write examples, and the features that all of them share, into an empty Input."""
    if context is None:
        given = into.example_list.examples
    else:
        _write(context, into.example_list_with_context.context)
        given = into.example_list_with_context.examples
    for each in examples:
        _write(each, given.add())


def _write(features: Features, example: Any) -> None:
    into = example.features.feature
    for name, values in features.items():
        feature = into[name]  # it is there from now on, even without a value
        match values[0] if values else None:
            case bytes():
                feature.bytes_list.value.extend(values)
            case float():
                feature.float_list.value.extend(values)
            case int():
                feature.int64_list.value.extend(values)
