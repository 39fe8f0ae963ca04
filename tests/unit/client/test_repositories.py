"""One client, several repositories: what is sent fits what the model says that it takes. Every protocol and face."""

import pytest

from trident.errors import InvalidRequestError, UnsupportedParameterError
from trident_client import Client, Retry

from .conftest import AsyncFace, SyncFace
from .repositories import LLMAPI, NOT_DECOUPLED, NVIDIA, NVIDIA_OF_2023
from .scripted_server import Hang, Say

ALL = 10**6


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def client_of(request, url, protocol):
    return lambda model: request.param(url, protocol, model=model, retry=Retry(0))


def sent(server, number=0):
    """Input name -> list of values, of either protocol."""
    inputs = server.requests[number]["inputs"]
    return {name: value if isinstance(value, list) else [value] for name, value in inputs.items()}


def test_nvidia_s_ensemble_gets_what_it_declares_and_nothing_else(client_of, server):
    server.configs["ensemble"] = NVIDIA
    server.script = [Say("a"), Say("", "stop")]
    deltas, _ = client_of("ensemble").take(ALL, "Hi", seed=3, top_k=2, min_tokens=1, return_perf_metrics=True)
    assert "".join(delta.text for delta in deltas) == "a"
    assert sent(server) == {
        "text_input": ["Hi"], "stream": [True], "max_tokens": [128], "min_tokens": [1], "top_k": [2], "seed": [3],
        "exclude_input_in_output": [True], "return_perf_metrics": [True],
    }  # fmt: skip


def test_the_names_and_dtypes_of_2023_are_found(client_of, server, protocol):
    server.configs["ensemble"] = NVIDIA_OF_2023
    server.script = [Say("", "stop")]
    client_of("ensemble").take(ALL, "Hi", seed=3, min_tokens=1, top_k=4)
    assert sent(server) == {
        "text_input": ["Hi"], "stream": [True], "max_tokens": [128], "min_length": [1], "top_k": [4],
        "random_seed": [3], "bad_words": [""], "stop_words": [""],
    }  # fmt: skip
    with pytest.raises(InvalidRequestError, match="top_k must be UINT32, got -1"):
        client_of("ensemble").take(ALL, "Hi", top_k=-1)


def test_the_llm_api_model_gets_its_own_names_without_a_batch_dimension(client_of, server, protocol):
    server.configs["tensorrt_llm"] = LLMAPI
    server.script = [
        Say("He", "None", is_final=False),
        Say("Hello", "None", is_final=False),
        Say("Hello you", "length", is_final=True),
    ]
    deltas, _ = client_of("tensorrt_llm").take(ALL, "Hi", max_tokens=4, stop_words="x", temperature=0.5)
    assert [(delta.text, delta.finish_reason) for delta in deltas] == [("He", ""), ("llo", ""), (" you", "length")]
    assert sent(server) == {
        "text_input": ["Hi"], "streaming": [True], "sampling_param_max_tokens": [4], "sampling_param_stop": ["x"],
        "sampling_param_temperature": [0.5], "sampling_param_exclude_input_from_output": [True],
        "return_finish_reason": [True],
    }  # fmt: skip
    if protocol == "grpc":
        assert set(map(tuple, server.requests[0]["shapes"].values())) == {(1,)}


def test_the_llm_api_model_is_cancelled_itself_and_says_so_with_an_error(client_of, server):
    server.configs["tensorrt_llm"] = LLMAPI
    server.script = [Say("a", "None", is_final=False), Hang(), Say("a", "cancelled")]
    _, request_id = client_of("tensorrt_llm").take(1, "Hi")
    assert server.cancels == [request_id]
    assert sent(server, 1) == {"text_input": [""], "stop": [True]}


def test_a_model_that_is_not_decoupled_answers_a_stream_with_one_delta(client_of, server):
    server.configs["ensemble"] = NOT_DECOUPLED
    server.script = [Say("all of it", "", is_final=True)]
    deltas, _ = client_of("ensemble").take(ALL, "Hi")
    assert [delta.text for delta in deltas] == ["all of it"]
    assert sent(server)["stream"] == [False]


@pytest.mark.parametrize("name", ["my_ensemble", "a model/with ünusual%20name"])
def test_an_ensemble_may_have_any_name(url, protocol, server, name):
    server.configs[name] = {**NVIDIA, "name": name}
    server.script = [Say("a"), Hang(), Say("", "cancelled")]
    with Client(url, protocol, model=name) as client, client.stream("Hi") as stream:
        next(stream)
    assert [seen["model"] for seen in server.requests] == [name, "tensorrt_llm"]


def test_what_the_model_has_no_input_for_is_refused_by_name_before_it_is_sent(client_of, server):
    server.configs["ensemble"] = NVIDIA
    for prompt, parameters, name in (("Hi", {"beam_width": 2}, "beam_width"), ([{"role": "user"}], {}, "messages")):
        with pytest.raises(UnsupportedParameterError, match=f"model 'ensemble' takes no {name}; leave it out"):
            client_of("ensemble").generate(prompt, **parameters)
    assert server.requests == []


def test_a_server_that_says_nothing_of_its_models_is_taken_for_trident(client_of, server):
    server.script = [Say("a", "stop")]
    assert client_of("ensemble").generate("Hi").text == "a"
    assert sent(server)["return_num_input_tokens"] == [True]


def test_a_server_that_says_nothing_of_its_models_may_be_another_than_trident(client_of, server):
    server.script = [Say("a"), Say("b", "", is_final=True)]  # no finish reason
    deltas, _ = client_of("ensemble").take(ALL, "Hi")
    assert "".join(delta.text for delta in deltas) == "ab"


def test_cancels_go_where_the_caller_says(url, protocol, server):
    with Client(url, protocol, engine_model="my_engine") as client:
        client.cancel("a")
    assert [(seen["id"], seen["model"]) for seen in server.requests] == [("a", "my_engine")]


def test_a_model_is_asked_about_once(url, protocol, server):
    server.configs["ensemble"] = NVIDIA
    server.script = [Say("", "stop")]
    with Client(url, protocol) as client:
        assert client.interface().is_decoupled
        server.configs["ensemble"] = LLMAPI
        client.generate("Hi")
    assert "max_tokens" in sent(server)
