"""What the tests of the dispatcher share, and the TensorRT-LLM adapter over its double."""

import pytest

from tests.unit.engines.served import Served
from tests.unit.engines.tensorrt_llm_engines import double_installed, load
from tests.unit.engines.tensorrt_llm_hearer import Hearer


@pytest.fixture
def served():
    made = Served()
    yield made
    made.dispatcher.close()


@pytest.fixture(scope="module")
def double():
    """The package, while it is importable."""
    with double_installed() as package:
        yield package


@pytest.fixture
def load_one(tmp_path, double):
    """Loads an engine with a changed manifest; closes it in the end."""
    engines = []

    def load_one(kind, **changes) -> Hearer:
        engines.append(load(tmp_path, kind, **changes))
        return Hearer(engines[-1])

    yield load_one
    for engine in engines:
        engine.close()
