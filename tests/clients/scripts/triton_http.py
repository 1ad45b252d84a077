"""tritonclient.http, as its users call it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tritonclient.http as triton
from cases import Gateway, run
from samples import SAMPLES, TEXTS, refused, same

ONES = np.ones((3, 2), np.float32)


def _client(gateway: Gateway, **settings: Any) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(gateway.http, **settings)


def _input(name: str, array: np.ndarray, datatype: str = "FP32", binary: bool = True) -> triton.InferInput:
    return triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)


def _add(client: triton.InferenceServerClient, array: np.ndarray = ONES, **settings: Any) -> triton.InferResult:
    return client.infer("add", [_input("x", array)], **settings)


def the_server_says_that_it_is_live_and_ready(gateway: Gateway) -> None:
    client = _client(gateway)
    assert client.is_server_live()
    assert client.is_server_ready()


def the_server_names_itself_and_the_extensions_that_it_has(gateway: Gateway) -> None:
    metadata = _client(gateway).get_server_metadata()
    assert metadata["name"] == "torii", metadata
    assert metadata["version"], metadata
    assert {"binary_tensor_data", "model_configuration", "model_repository", "statistics"} <= {*metadata["extensions"]}


def a_model_is_ready_and_a_stranger_is_not(gateway: Gateway) -> None:
    client = _client(gateway)
    assert client.is_model_ready("add")
    assert client.is_model_ready("add", "1")
    assert not client.is_model_ready("add", "9")
    assert not client.is_model_ready("stranger")


def metadata_has_a_model_s_versions_and_tensors(gateway: Gateway) -> None:
    metadata = _client(gateway).get_model_metadata("add")
    assert metadata["versions"] == ["1", "2"], metadata
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}], metadata
    assert metadata["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}], metadata


def the_configuration_has_what_perf_analyzer_asks_for(gateway: Gateway) -> None:
    config = _client(gateway).get_model_config("add", "1")
    assert config["name"] == "add", config
    assert config["input"][0]["name"] == "x", config
    assert config["input"][0]["data_type"] == "TYPE_FP32", config
    assert config["output"][0]["name"] == "y", config
    # with a batch axis of its own, max_batch_size counts it and dims leave it out
    dims = [int(size) for size in config["input"][0]["dims"]]
    assert dims == ([2] if config.get("max_batch_size") else [-1, 2]), config


def every_datatype_goes_there_and_back_as_binary(gateway: Gateway) -> None:
    client = _client(gateway)
    for datatype, array in SAMPLES.items():
        result = client.infer(f"echo_{datatype.lower()}", [_input("x", array, datatype)])
        assert "binary_data_size" in result.get_output("y")["parameters"], datatype
        same(result.as_numpy("y"), array)


def every_datatype_that_json_can_carry_goes_there_and_back(gateway: Gateway) -> None:
    client = _client(gateway)
    for datatype, array in SAMPLES.items():
        if datatype in {"BF16", "BYTES"}:
            continue  # the client sends BF16 as binary only; texts have a case of their own
        inputs = [_input("x", array, datatype, binary=False)]
        outputs = [triton.InferRequestedOutput("y", binary_data=False)]
        result = client.infer(f"echo_{datatype.lower()}", inputs, outputs=outputs)
        assert "data" in result.get_output("y"), result.get_output("y")
        same(result.as_numpy("y"), array)


def texts_in_json_are_texts(gateway: Gateway) -> None:
    outputs = [triton.InferRequestedOutput("y", binary_data=False)]
    inputs = [_input("x", TEXTS, "BYTES", binary=False)]
    result = _client(gateway).infer("echo_bytes", inputs, outputs=outputs)
    assert result.as_numpy("y").tolist() == [["", "Übergröße"], ["torii", "a" * 1000]]


def input_and_output_choose_their_form_apart(gateway: Gateway) -> None:
    client = _client(gateway)
    for binary_in, binary_out in ((True, False), (False, True)):
        outputs = [triton.InferRequestedOutput("y", binary_data=binary_out)]
        result = client.infer("add", [_input("x", ONES, binary=binary_in)], model_version="1", outputs=outputs)
        assert ("data" in result.get_output("y")) is not binary_out
        same(result.as_numpy("y"), ONES + 1)


def tensors_without_elements_and_without_axes_pass(gateway: Gateway) -> None:
    client = _client(gateway)
    for array in (np.zeros((2, 0, 3), np.float32), np.array(1.5, np.float32)):
        for binary in (True, False):
            outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
            inputs = [_input("x", array, binary=binary)]
            same(client.infer("echo_fp32", inputs, outputs=outputs).as_numpy("y"), array)


def the_infinite_and_nan_pass_as_binary(gateway: Gateway) -> None:
    array = np.array([np.nan, np.inf, -np.inf], np.float32)
    got = _client(gateway).infer("echo_fp32", [_input("x", array)]).as_numpy("y")
    assert np.array_equal(got, array, equal_nan=True), got


def a_megabyte_passes_in_one_piece(gateway: Gateway) -> None:
    array = np.random.default_rng(0).random((512, 512), np.float32)
    same(_client(gateway).infer("echo_fp32", [_input("x", array)]).as_numpy("y"), array)


def the_version_that_is_asked_for_answers(gateway: Gateway) -> None:
    client = _client(gateway)
    for version in ("1", "2"):
        result = _add(client, model_version=version)
        assert result.get_response()["model_version"] == version
        same(result.as_numpy("y"), ONES + int(version))


def a_backend_is_pinned_in_the_model_s_name(gateway: Gateway) -> None:
    result = _client(gateway).infer("add@onnxruntime", [_input("x", ONES)])
    same(result.as_numpy("y"), ONES + 2)


def async_infer_answers_each_request_with_its_own(gateway: Gateway) -> None:
    client = _client(gateway, concurrency=4)
    arrays = [np.full((1, 2), number, np.float32) for number in range(40)]
    running = [client.async_infer("add", [_input("x", array)], model_version="1") for array in arrays]
    for array, request in zip(arrays, running, strict=True):
        same(request.get_result(timeout=30).as_numpy("y"), array + 1)


def the_request_id_comes_back(gateway: Gateway) -> None:
    assert _add(_client(gateway), request_id="my request 7").get_response()["id"] == "my request 7"


def priority_and_strange_parameters_do_no_harm(gateway: Gateway) -> None:
    result = _add(_client(gateway), priority=1, parameters={"mine": "yes"}, model_version="1")
    same(result.as_numpy("y"), ONES + 1)


def a_timeout_of_the_request_ends_it(gateway: Gateway) -> None:
    rounds = np.array([500], np.int64)
    with refused("504"):
        _client(gateway).infer("slow", [_input("n", rounds, "INT64")], timeout=50_000)


def a_timeout_that_is_long_enough_does_not(gateway: Gateway) -> None:
    same(_add(_client(gateway), timeout=30_000_000, model_version="1").as_numpy("y"), ONES + 1)


def compressed_requests_are_understood(gateway: Gateway) -> None:
    client = _client(gateway)
    for algorithm in ("gzip", "deflate"):
        result = _add(client, model_version="1", request_compression_algorithm=algorithm)
        same(result.as_numpy("y"), ONES + 1)


def compressed_answers_may_be_asked_for(gateway: Gateway) -> None:
    client = _client(gateway)
    for algorithm in ("gzip", "deflate"):
        result = _add(client, model_version="1", response_compression_algorithm=algorithm)
        same(result.as_numpy("y"), ONES + 1)


def the_index_lists_every_version_with_its_state(gateway: Gateway) -> None:
    index = _client(gateway).get_model_repository_index()
    states = {(each["name"], each.get("version")): each["state"] for each in index}
    assert states[("add", "1")] == states[("add", "2")] == states[("slow", "1")] == "READY", index


def a_model_is_unloaded_and_loaded_again(gateway: Gateway) -> None:
    client = _client(gateway)
    client.unload_model("spare")
    _until(lambda: _state(client, "spare") == "UNAVAILABLE")
    assert not client.is_model_ready("spare")
    with refused("404", "503"):
        client.infer("spare", [_input("x", ONES)])
    client.load_model("spare")
    assert client.is_model_ready("spare")
    same(client.infer("spare", [_input("x", ONES)]).as_numpy("y"), ONES + 10)


def _state(client: triton.InferenceServerClient, model: str) -> str:
    states = {each["name"]: each["state"] for each in client.get_model_repository_index()}
    state: str = states[model]
    return state


def _until(condition: Any, within_s: float = 20) -> None:
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.02)


def a_model_that_is_not_in_the_repository_cannot_be_loaded(gateway: Gateway) -> None:
    client = _client(gateway)
    for name in ("stranger", "../add", "http://127.0.0.1/add"):
        with refused("400", "404"):
            client.load_model(name)


def the_statistics_count_rows_and_requests(gateway: Gateway) -> None:
    client = _client(gateway)
    before = _statistics(client)
    _add(client, np.ones((64, 2), np.float32), model_version="1")
    after = _statistics(client)
    assert after["inference_count"] - before["inference_count"] == 64, (before, after)
    assert after["execution_count"] - before["execution_count"] == 1, (before, after)
    success = after["inference_stats"]["success"]
    assert success["count"] - before["inference_stats"]["success"]["count"] == 1, (before, after)
    assert success["ns"] > before["inference_stats"]["success"]["ns"], (before, after)
    assert after["last_inference"] >= before["last_inference"], (before, after)


def _statistics(client: triton.InferenceServerClient) -> dict[str, Any]:
    [statistics] = client.get_inference_statistics("add", "1")["model_stats"]
    assert (statistics["name"], statistics["version"]) == ("add", "1"), statistics
    return statistics


def the_statistics_of_all_models_are_there_too(gateway: Gateway) -> None:
    names = {each["name"] for each in _client(gateway).get_inference_statistics()["model_stats"]}
    assert {"add", "echo_fp32", "slow"} <= names, names


def an_unknown_model_is_404(gateway: Gateway) -> None:
    with refused("404", says=("stranger",)):
        _client(gateway).infer("stranger", [_input("x", ONES)])


def an_unknown_version_is_404(gateway: Gateway) -> None:
    with refused("404", says=("9",)):
        _add(_client(gateway), model_version="9")


def a_wrong_shape_is_400_and_says_what_was_expected(gateway: Gateway) -> None:
    with refused("400", says=("x", "2", "3")):
        _add(_client(gateway), np.ones((1, 3), np.float32))


def a_wrong_datatype_is_400(gateway: Gateway) -> None:
    with refused("400", says=("FP32", "INT64")):
        _client(gateway).infer("add", [_input("x", np.ones((1, 2), np.int64), "INT64")])


def a_wrong_input_name_is_400(gateway: Gateway) -> None:
    with refused("400", says=("x",)):
        _client(gateway).infer("add", [_input("z", ONES)])


def an_unknown_output_is_400(gateway: Gateway) -> None:
    with refused("400", says=("nothing",)):
        _add(_client(gateway), outputs=[triton.InferRequestedOutput("nothing")])


def shared_memory_is_refused(gateway: Gateway) -> None:
    client = _client(gateway)
    given = triton.InferInput("x", [1, 2], "FP32")
    given.set_shared_memory("region", 8)
    with refused("400", "501"):
        client.infer("add", [given])
    with refused("404", "405", "501"):
        client.register_system_shared_memory("region", "/region", 8)


if __name__ == "__main__":
    run(globals())
