"""What is taken from an engine's page of metrics."""

import pytest

from trident.gateway.overview.engines import engine_figures
from trident_client.metrics import parse_metrics

PAGE = """
trident_engine_info{model="tensorrt_llm",kind="openvino",engine="smollm2",engine_version="3",simulated="false"} 1
trident_engine_info{model="tensorrt_llm",kind="openvino",engine="smollm2",engine_version="2",simulated="false"} 0
nv_trt_llm_request_metrics{model="tensorrt_llm",version="1",request_type="waiting"} 3
nv_trt_llm_request_metrics{model="tensorrt_llm",version="1",request_type="scheduled"} 8
nv_trt_llm_request_metrics{model="tensorrt_llm",version="1",request_type="active"} 11
nv_trt_llm_request_metrics{model="tensorrt_llm",version="1",request_type="max"} 16
nv_trt_llm_kv_cache_block_metrics{model="tensorrt_llm",version="1",kv_cache_block_type="used"} 30
nv_trt_llm_kv_cache_block_metrics{model="tensorrt_llm",version="1",kv_cache_block_type="max"} 120
nv_trt_llm_kv_cache_block_metrics{model="tensorrt_llm",version="1",kv_cache_block_type="fraction"} 0.26
nv_trt_llm_request_metrics{model="other",version="1",request_type="scheduled"} 4
"""


def test_an_engine_tells_its_queue_and_its_cache():
    found = engine_figures(parse_metrics(PAGE), "tensorrt_llm")
    assert (found.running, found.waiting, found.places) == (8, 3, 16)
    assert (found.kv_used, found.kv_blocks) == (0.25, 120)
    assert found.name == "smollm2 3"


def test_engines_of_one_server_are_added_up_where_none_is_named():
    assert engine_figures(parse_metrics(PAGE), None).running == 12


def test_an_engine_without_blocks_tells_its_share():
    page = "\n".join(line for line in PAGE.splitlines() if '"used"' not in line and '"max"' not in line)
    found = engine_figures(parse_metrics(page), "tensorrt_llm")
    assert (found.kv_used, found.kv_blocks, found.places) == (0.26, None, None)


@pytest.mark.parametrize("value", ["NaN", "+Inf"])
def test_what_is_no_number_is_not_told(value):
    page = PAGE.replace("} 8\n", f"}} {value}\n").replace("} 0.26", f"}} {value}").replace("} 30\n", f"}} {value}\n")
    found = engine_figures(parse_metrics(page), "tensorrt_llm")
    assert (found.running, found.kv_used) == (11, None)


def test_a_page_of_something_else_is_no_engine():
    assert engine_figures(parse_metrics("up 1\n"), None) is None
