"""The TensorRT-LLM adapter keeps what every adapter promises, over the double of TensorRT-LLM and on both kinds."""

from __future__ import annotations

import pytest

from tests.unit.engines.adapter_suite import AdapterSuite
from tests.unit.engines.tensorrt_llm_engines import load
from trident.engines.capabilities import CAPABILITIES, Support
from trident.manifest import EngineKind

pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture(scope="class")
def loaded(request, tmp_path_factory, double):
    engine = load(tmp_path_factory.mktemp("engine"), request.cls.kind)
    yield engine
    engine.close()


class OfOneKind(AdapterSuite):
    kind: EngineKind

    @pytest.fixture
    def engine(self, loaded):
        return loaded

    @pytest.fixture
    def new_engine(self, tmp_path):
        engine = load(tmp_path, self.kind)
        yield engine
        engine.close()


class TestTensorRtEngines(OfOneKind):
    kind = EngineKind.TENSORRT_LLM


class TestPyTorchBackend(OfOneKind):
    kind = EngineKind.TENSORRT_LLM_PYTORCH

    def test_no_eos_id_ends_an_answer_before_min_tokens(self):
        """Its sampler cannot promise that, so that nobody may ask for it."""
        assert CAPABILITIES["min_tokens"].of(self.kind) is Support.NO
