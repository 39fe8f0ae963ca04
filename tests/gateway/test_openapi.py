"""Whatever fits the OpenAPI document, or does not, is answered as the document says, and never by a failure of ours."""

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
NUM_EXAMPLES = 15
OPERATIONS = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"),
]
PLAIN = {
    "model", "messages", "prompt", "max_tokens", "temperature", "top_p", "n", "seed", "stop", "stream",
    "stream_options", "presence_penalty", "frequency_penalty", "user", "safety_identifier", "metadata", "store",
    "service_tier",
}  # fmt: skip
SHORT = {"max_tokens": 2, "max_completion_tokens": 2, "n": 1, "best_of": 1}


@pytest.fixture(scope="module")
def schema(gateway):
    return schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")


def drive(operation, mode, change=None, checks=CHECKS):
    @hypothesis.settings(
        max_examples=NUM_EXAMPLES, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        if change is not None:
            change(case)
        case.call_and_validate(checks=checks)

    check()


def ask_the_simulated_engine(case):
    """A body that the gateway does not refuse for its model, and that is soon answered."""
    if isinstance(case.body, dict):
        case.body["model"] = "simulated"
        case.body |= {name: value for name, value in SHORT.items() if case.body.get(name) is not None}
        if case.path == "/tokenize":  # one of the two, which the document cannot say
            case.body = {"prompt": "x", **case.body, "messages": None, "tools": None, "add_generation_prompt": None}
            case.body["chat_template_kwargs"] = None
        if case.path.startswith("/v1/"):
            case.body["max_tokens"] = 2
            if isinstance(case.body.get("prompt"), list):
                case.body["prompt"] = case.body["prompt"][:4]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_fits_the_document_is_answered_as_it_says(schema, method, path):
    drive(schema[path][method], GenerationMode.POSITIVE, ask_the_simulated_engine)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_what_is_plain_gets_an_answer(schema, path):
    """Of what fits, the fields that every engine takes; the engine decides on the rest."""

    def plain(case):
        ask_the_simulated_engine(case)
        case.body = {name: value for name, value in case.body.items() if name in PLAIN}
        if "messages" in case.body:
            case.body["messages"] = [{"role": each["role"], "content": "x"} for each in case.body["messages"][:4]]
        if not case.body.get("stream"):
            case.body.pop("stream_options", None)
        if case.body.get("seed") is not None:
            case.body["seed"] = int(case.body["seed"])  # 1.0 is an integer to JSON schema alone
        if "prompt" in case.body:
            case.body["prompt"] = f"x{case.body['prompt']}"

    drive(schema[path]["POST"], GenerationMode.POSITIVE, plain, [*CHECKS, is_answered])


def is_answered(_context, response, _case):
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(("method", "path"), [each for each in OPERATIONS if each[0] == "POST"])
def test_what_does_not_fit_is_refused(schema, method, path):
    drive(schema[path][method], GenerationMode.NEGATIVE)


def test_every_operation_says_who_may_ask_and_how_errors_look(schema):
    document = schema.raw_schema
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    for method, path in OPERATIONS:
        operation = document["paths"][path][method.lower()]
        assert operation["security"] == [{"HTTPBearer": []}]
        assert {"200", "4XX", "5XX"} <= set(operation["responses"])
        assert "422" not in operation["responses"]
    error = document["components"]["schemas"]["ErrorBody"]
    assert "error" in error["required"]
