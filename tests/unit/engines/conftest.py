"""What the tests of the dispatcher share."""

import pytest

from tests.unit.engines.served import Served


@pytest.fixture
def served():
    made = Served()
    yield made
    made.dispatcher.close()
