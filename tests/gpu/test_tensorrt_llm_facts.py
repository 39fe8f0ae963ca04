"""The facts that the adapter and its double are built on, against the TensorRT-LLM that is installed: it wins."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import json

import pytest

from tests.unit.engines.tensorrt_llm_engines import DOUBLES
from tests.unit.engines.test_tensorrt_llm_facts import used_arguments, used_sampling_arguments
from trident.manifest import EngineKind

MORE = json.loads((DOUBLES / "tensorrt_llm" / "llm_api.json").read_text())
ARGS_CLASSES = {EngineKind.TENSORRT_LLM: "TrtLlmArgs", EngineKind.TENSORRT_LLM_PYTORCH: "TorchLlmArgs"}


@pytest.fixture(scope="module")
def llmapi():
    if importlib.util.find_spec("tensorrt_llm") is None:
        pytest.skip("no TensorRT-LLM: run in NVIDIA's image")
    return importlib.import_module("tensorrt_llm.llmapi")


@pytest.mark.parametrize("kind", ARGS_CLASSES)
def test_every_argument_that_the_adapter_gives_an_engine_is_there(llmapi, kind, tmp_path):
    llm_args = importlib.import_module("tensorrt_llm.llmapi.llm_args")
    known = set(getattr(llm_args, ARGS_CLASSES[kind]).model_fields)
    assert set(used_arguments(kind, tmp_path)) <= known


def test_every_argument_that_it_gives_a_request_is_there(llmapi):
    known = {field.name for field in dataclasses.fields(llmapi.SamplingParams)}
    assert used_sampling_arguments() <= known


@pytest.mark.parametrize("name", ["KvCacheConfig", "SchedulerConfig", "CudaGraphConfig", "PeftCacheConfig"])
def test_every_section_of_arguments_has_its_class(llmapi, name):
    assert issubclass(getattr(llmapi, name), importlib.import_module("pydantic").BaseModel)


def test_a_request_is_submitted_and_awaited_as_the_adapter_does_it(llmapi):
    given = {"inputs", "sampling_params", "lora_request", "streaming", "cache_salt"}
    assert given <= set(inspect.signature(llmapi.LLM.generate_async).parameters)
    assert given <= set(MORE["generate_async"])
    assert "timeout" in inspect.signature(llmapi.LLM.get_stats_async).parameters
    assert issubclass(importlib.import_module("tensorrt_llm.executor").RequestError, RuntimeError)
