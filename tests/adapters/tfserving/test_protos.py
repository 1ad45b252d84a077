from __future__ import annotations

import json

from tests.adapters.tfserving.children import run_python

MEASURE = """
import json, sys
{imports}
def memory_kb():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
print(json.dumps({{"mb": memory_kb() / 1024, "modules": [name for name in sys.modules]}}))
"""


def measured(imports: str) -> tuple[float, set[str]]:
    answer = json.loads(run_python("-c", MEASURE.format(imports=imports)))
    return answer["mb"], set(answer["modules"])


def test_the_client_does_not_load_tensorflow() -> None:
    megabytes, modules = measured("import adapters.tfserving.client")
    assert megabytes < 120
    assert "tensorflow" not in modules
    assert not any(name.startswith(("tensorflow.python", "keras")) for name in modules)


def test_the_adapter_alone_loads_neither_grpc_nor_the_messages() -> None:
    _, modules = measured("from adapters.tfserving.adapter import TfServingAdapter")
    assert not modules & {"grpc", "tensorflow_serving", "adapters.tfserving.protos"}


def test_a_tensorflow_that_is_imported_already_is_left_in_place() -> None:
    imports = "import types; sys.modules['tensorflow'] = mine = types.ModuleType('tensorflow'); mine.__path__ = []\n"
    imports += "import adapters.tfserving\n"
    imports += "try:\n    import adapters.tfserving.protos\n"
    imports += "except ModuleNotFoundError: pass  # this one has no submodules\n"
    imports += "assert sys.modules['tensorflow'] is mine"
    measured(imports)
