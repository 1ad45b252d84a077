"""tritonclient.grpc, as its users call it."""

from __future__ import annotations

import queue
import time
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from cases import Gateway, run
from samples import SAMPLES, refused, same

ONES = np.ones((3, 2), np.float32)


def _client(gateway: Gateway) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(gateway.grpc)


def _input(name: str, array: np.ndarray, datatype: str = "FP32") -> triton.InferInput:
    return triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array)


def _add(client: triton.InferenceServerClient, array: np.ndarray = ONES, **settings: Any) -> triton.InferResult:
    return client.infer("add", [_input("x", array)], **settings)


def the_server_says_that_it_is_live_and_ready(gateway: Gateway) -> None:
    client = _client(gateway)
    assert client.is_server_live()
    assert client.is_server_ready()


def the_server_names_itself_and_the_extensions_that_it_has(gateway: Gateway) -> None:
    metadata = _client(gateway).get_server_metadata(as_json=True)
    assert metadata["name"] == "torii", metadata
    assert {"model_configuration", "model_repository", "statistics"} <= {*metadata["extensions"]}, metadata


def a_model_is_ready_and_a_stranger_is_not(gateway: Gateway) -> None:
    client = _client(gateway)
    assert client.is_model_ready("add")
    assert client.is_model_ready("add", "1")
    assert not client.is_model_ready("add", "9")
    assert not client.is_model_ready("stranger")


def metadata_has_a_model_s_versions_and_tensors(gateway: Gateway) -> None:
    metadata = _client(gateway).get_model_metadata("add")
    assert list(metadata.versions) == ["1", "2"], metadata
    [tensor] = metadata.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("x", "FP32", [-1, 2]), metadata
    assert metadata.outputs[0].name == "y", metadata


def the_configuration_has_what_perf_analyzer_asks_for(gateway: Gateway) -> None:
    config = _client(gateway).get_model_config("add", "1").config
    assert (config.name, config.input[0].name, config.output[0].name) == ("add", "x", "y"), config
    assert config.input[0].data_type == 11, config  # TYPE_FP32
    assert list(config.input[0].dims) == ([2] if config.max_batch_size else [-1, 2]), config


def every_datatype_goes_there_and_back(gateway: Gateway) -> None:
    client = _client(gateway)
    for datatype, array in SAMPLES.items():
        result = client.infer(f"echo_{datatype.lower()}", [_input("x", array, datatype)])
        same(result.as_numpy("y"), array)


def tensors_without_elements_and_without_axes_pass(gateway: Gateway) -> None:
    client = _client(gateway)
    for array in (np.zeros((2, 0, 3), np.float32), np.array(1.5, np.float32)):
        same(client.infer("echo_fp32", [_input("x", array)]).as_numpy("y"), array)


def the_infinite_and_nan_pass(gateway: Gateway) -> None:
    array = np.array([np.nan, np.inf, -np.inf], np.float32)
    got = _client(gateway).infer("echo_fp32", [_input("x", array)]).as_numpy("y")
    assert np.array_equal(got, array, equal_nan=True), got


def sixteen_megabytes_pass_in_one_piece(gateway: Gateway) -> None:
    array = np.random.default_rng(0).random((2048, 2048), np.float32)
    same(_client(gateway).infer("echo_fp32", [_input("x", array)]).as_numpy("y"), array)


def the_version_that_is_asked_for_answers(gateway: Gateway) -> None:
    client = _client(gateway)
    for version in ("1", "2"):
        result = _add(client, model_version=version)
        assert result.get_response().model_version == version
        same(result.as_numpy("y"), ONES + int(version))


def a_backend_is_pinned_in_the_model_s_name(gateway: Gateway) -> None:
    result = _client(gateway).infer("add@onnxruntime", [_input("x", ONES)])
    same(result.as_numpy("y"), ONES + 2)


def only_the_outputs_that_are_asked_for_come(gateway: Gateway) -> None:
    result = _add(_client(gateway), model_version="1", outputs=[triton.InferRequestedOutput("y")])
    assert [each.name for each in result.get_response().outputs] == ["y"]
    same(result.as_numpy("y"), ONES + 1)


def async_infer_answers_each_request_with_its_own(gateway: Gateway) -> None:
    client = _client(gateway)
    answers: queue.Queue[tuple[int, Any, Any]] = queue.Queue()
    arrays = [np.full((1, 2), number, np.float32) for number in range(40)]
    for number, array in enumerate(arrays):
        client.async_infer(
            "add",
            [_input("x", array)],
            callback=lambda result, error, number=number: answers.put((number, result, error)),
            model_version="1",
        )
    for _ in arrays:
        number, result, error = answers.get(timeout=30)
        assert error is None, error
        same(result.as_numpy("y"), arrays[number] + 1)


def a_stream_answers_every_request_and_outlives_a_mistake(gateway: Gateway) -> None:
    client = _client(gateway)
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for number in range(20):
        client.async_stream_infer("add", [_input("x", ONES * number)], model_version="1", request_id=str(number))
    client.async_stream_infer("stranger", [_input("x", ONES)], request_id="mistake")
    client.async_stream_infer("add", [_input("x", ONES * 20)], model_version="1", request_id="20")
    got = [answers.get(timeout=30) for _ in range(22)]
    client.stop_stream()
    errors = [error for _, error in got if error is not None]
    assert len(errors) == 1, errors
    assert "stranger" in errors[0].message(), errors
    results = {result.get_response().id: result for result, error in got if error is None}
    assert results.keys() == {str(number) for number in range(21)}, results.keys()
    for number, result in results.items():
        same(result.as_numpy("y"), ONES * int(number) + 1)


def the_request_id_comes_back(gateway: Gateway) -> None:
    assert _add(_client(gateway), request_id="my request 7").get_response().id == "my request 7"


def priority_and_strange_parameters_do_no_harm(gateway: Gateway) -> None:
    parameters = {"mine": "yes", "number": 7, "truth": True, "half": 0.5}
    result = _add(_client(gateway), priority=1, parameters=parameters, model_version="1")
    same(result.as_numpy("y"), ONES + 1)


def a_timeout_of_the_request_ends_it(gateway: Gateway) -> None:
    with refused("StatusCode.DEADLINE_EXCEEDED"):
        _client(gateway).infer("slow", [_input("n", np.array([500], np.int64), "INT64")], timeout=50_000)


def a_deadline_of_the_call_ends_it(gateway: Gateway) -> None:
    with refused("StatusCode.DEADLINE_EXCEEDED"):
        _client(gateway).infer("slow", [_input("n", np.array([500], np.int64), "INT64")], client_timeout=0.05)


def compressed_requests_are_understood(gateway: Gateway) -> None:
    client = _client(gateway)
    for algorithm in ("gzip", "deflate"):
        same(_add(client, model_version="1", compression_algorithm=algorithm).as_numpy("y"), ONES + 1)


def the_index_lists_every_version_with_its_state(gateway: Gateway) -> None:
    index = _client(gateway).get_model_repository_index()
    states = {(each.name, each.version): each.state for each in index.models}
    assert states[("add", "1")] == states[("add", "2")] == states[("slow", "1")] == "READY", index


def a_model_is_unloaded_and_loaded_again(gateway: Gateway) -> None:
    client = _client(gateway)
    client.unload_model("spare")
    _until(lambda: _state(client, "spare") == "UNAVAILABLE")
    assert not client.is_model_ready("spare")
    with refused("StatusCode.NOT_FOUND", "StatusCode.UNAVAILABLE"):
        client.infer("spare", [_input("x", ONES)])
    client.load_model("spare")
    assert client.is_model_ready("spare")
    same(client.infer("spare", [_input("x", ONES)]).as_numpy("y"), ONES + 10)


def _state(client: triton.InferenceServerClient, model: str) -> str:
    states = {each.name: each.state for each in client.get_model_repository_index().models}
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
        with refused("StatusCode.NOT_FOUND", "StatusCode.INVALID_ARGUMENT"):
            client.load_model(name)


def the_statistics_count_rows_and_requests(gateway: Gateway) -> None:
    client = _client(gateway)
    before = _statistics(client)
    _add(client, np.ones((64, 2), np.float32), model_version="1")
    after = _statistics(client)
    assert after.inference_count - before.inference_count == 64, (before, after)
    assert after.execution_count - before.execution_count == 1, (before, after)
    assert after.inference_stats.success.count - before.inference_stats.success.count == 1, (before, after)
    assert after.inference_stats.success.ns > before.inference_stats.success.ns, (before, after)


def _statistics(client: triton.InferenceServerClient) -> Any:
    [statistics] = client.get_inference_statistics("add", "1").model_stats
    assert (statistics.name, statistics.version) == ("add", "1"), statistics
    return statistics


def an_unknown_model_is_not_found(gateway: Gateway) -> None:
    with refused("StatusCode.NOT_FOUND", says=("stranger",)):
        _client(gateway).infer("stranger", [_input("x", ONES)])


def an_unknown_version_is_not_found(gateway: Gateway) -> None:
    with refused("StatusCode.NOT_FOUND", says=("9",)):
        _add(_client(gateway), model_version="9")


def a_wrong_shape_is_an_invalid_argument_and_says_what_was_expected(gateway: Gateway) -> None:
    with refused("StatusCode.INVALID_ARGUMENT", says=("x", "2", "3")):
        _add(_client(gateway), np.ones((1, 3), np.float32))


def a_wrong_datatype_is_an_invalid_argument(gateway: Gateway) -> None:
    with refused("StatusCode.INVALID_ARGUMENT", says=("FP32", "INT64")):
        _client(gateway).infer("add", [_input("x", np.ones((1, 2), np.int64), "INT64")])


def an_unknown_output_is_an_invalid_argument(gateway: Gateway) -> None:
    with refused("StatusCode.INVALID_ARGUMENT", says=("nothing",)):
        _add(_client(gateway), outputs=[triton.InferRequestedOutput("nothing")])


def shared_memory_is_refused(gateway: Gateway) -> None:
    client = _client(gateway)
    given = triton.InferInput("x", [1, 2], "FP32")
    given.set_shared_memory("region", 8)
    with refused("StatusCode.INVALID_ARGUMENT", "StatusCode.UNIMPLEMENTED"):
        client.infer("add", [given])
    with refused("StatusCode.UNIMPLEMENTED"):
        client.register_system_shared_memory("region", "/region", 8)


if __name__ == "__main__":
    run(globals())
