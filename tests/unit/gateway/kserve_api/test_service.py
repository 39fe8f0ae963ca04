"""KServe v2 over gRPC: a real `grpc.aio` server over deployments that follow a script."""

import re

import grpc
import pytest
from tests.unit.gateway.kserve_api.surroundings import Surroundings, Upstreams
from tests.unit.gateway.loop import until
from tests.unit.gateway.scripted_upstream import words
from tritonclient.grpc import service_pb2

from trident.errors import AuthenticationError, EngineError, RateLimitError, UnavailableError
from trident.gateway.identity import Identity, Limits
from trident_client.completion import Delta
from trident_client.protobuf_format import is_final, new_decoders, to_delta, to_message
from trident_client.request import build_cancel, build_request
from trident_client.sampling import Sampling

pytestmark = pytest.mark.anyio
ANSWER = words(" one", " two", " three")
OFFERED = {
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer", "ModelStreamInfer",
}  # fmt: skip


class Door:
    """An authenticator that says the same of everybody."""

    def __init__(self, answer):
        self._answer = answer
        self.addresses = []  # of who asked

    async def authenticate(self, headers, address):
        self.addresses.append(address)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.fixture
def made(tmp_path):
    """Surroundings of one deployment that says this."""

    def make(*script, **server):
        return Surroundings(tmp_path, Upstreams(main=list(script or ANSWER)), **server)

    return make


def asked(request_id="mine", *, is_streaming=True, model="chat", **parameters):
    sampling = Sampling(max_tokens=8, **parameters)
    return to_message(build_request(request_id, model, "Hello", sampling, is_streaming=is_streaming))


async def answers_to(stub, *messages, metadata=()):
    return [answer async for answer in stub.ModelStreamInfer(iter(messages), metadata=metadata)]


async def status_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, caught.value.details()


async def test_health_and_metadata(made):
    """As over HTTP."""
    surroundings = made()
    async with surroundings.grpc() as stub:
        assert (await stub.ServerLive(service_pb2.ServerLiveRequest())).live
        assert (await stub.ServerReady(service_pb2.ServerReadyRequest())).ready
        assert (await stub.ModelReady(service_pb2.ModelReadyRequest(name="chat"))).ready
        assert (await stub.ServerMetadata(service_pb2.ServerMetadataRequest())).name == "trident-gateway"
        metadata = await stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="assistant"))
        assert (metadata.name, list(metadata.versions)) == ("assistant", ["1"])
        assert {"text_input", "stop"} <= {tensor.name for tensor in metadata.inputs}
        surroundings.upstreams.ready.clear()
        assert not (await stub.ModelReady(service_pb2.ModelReadyRequest(name="chat"))).ready
        unknown = stub.ModelReady(service_pb2.ModelReadyRequest(name="nobody"))
        assert (await status_of(unknown))[0] == "NOT_FOUND"


async def test_what_is_not_offered_is_unimplemented(made):
    """Every other method of the service, which is Triton's own business."""
    methods = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    names = {method.name for method in methods} - OFFERED
    assert {"SystemSharedMemoryRegister", "RepositoryModelLoad", "ModelConfig", "TraceSetting", "LogSettings"} <= names
    async with made().grpc() as stub:
        for name in names:
            request = getattr(service_pb2, f"{name}Request")()
            assert (await status_of(getattr(stub, name)(request)))[0] == "UNIMPLEMENTED", name


async def test_a_stream_brings_a_response_for_each_delta(made):
    """The last says that it is, with or without the client's asking for an empty one."""
    surroundings = made()
    async with surroundings.grpc() as stub:
        for enable in (True, False):
            message = asked()
            message.parameters["triton_enable_empty_final_response"].bool_param = enable
            responses = [answer.infer_response for answer in await answers_to(stub, message)]
            assert [is_final(response) for response in responses] == [False, False, True]
            assert {(response.id, response.model_name) for response in responses} == {("mine", "chat")}
            deltas = [to_delta(response, new_decoders()) for response in responses]
            assert deltas == [Delta(" one"), Delta(" two"), Delta(" three", "stop", 4, 3)]
    assert all(request_id != "mine" for *_, request_id, _ in surroundings.upstreams.asked)


async def test_a_request_that_is_not_streamed_has_one_response(made):
    """In a stream, and by the unary call."""
    async with made().grpc() as stub:
        (answer,) = await answers_to(stub, asked(is_streaming=False))
        lone = await stub.ModelInfer(asked(is_streaming=False))
    assert is_final(answer.infer_response)
    for response in (answer.infer_response, lone):
        assert to_delta(response, new_decoders()) == Delta(" one two three", "stop", 4, 3)


async def test_an_empty_last_response_comes_only_when_it_is_asked_for(made):
    """Where upstream does not say which response is the last, as NVIDIA's repositories do not."""
    async with made(Delta(" one")).grpc() as stub:
        message = asked()
        first, last = await answers_to(stub, message)
        assert not is_final(first.infer_response)
        assert is_final(last.infer_response)
        assert not last.infer_response.outputs
        message.parameters["triton_enable_empty_final_response"].bool_param = False
        assert len(await answers_to(stub, message)) == 1


async def test_requests_on_one_stream_are_answered_side_by_side(made):
    """And the error of one is told by its id, and is not the others' affair."""
    script = [[Delta(" a"), 5, Delta("", "stop")], [UnavailableError("10.0.0.7 is gone")], ANSWER]
    async with made(*script).grpc() as stub:
        messages = [asked("a"), asked("b"), asked("c"), asked("d", model="nobody"), asked("e", temperature=1.0)]
        messages[4].inputs[0].name = "text_imput"
        answers = await answers_to(stub, *messages)
    errors = {answer.infer_response.id: answer.error_message for answer in answers if answer.error_message}
    texts = {"a": "", "c": ""}
    for answer in answers:
        if not answer.error_message:
            texts[answer.infer_response.id] += to_delta(answer.infer_response, new_decoders()).text
    assert texts == {"a": " a", "c": " one two three"}
    assert set(errors) == {"b", "d", "e"}
    assert "unavailable" in errors["b"]
    assert "10.0.0.7" not in errors["b"]
    assert "'nobody' does not exist" in errors["d"]
    assert "unexpected input 'text_imput'" in errors["e"]


async def test_a_client_may_want_statuses_instead_of_texts(made):
    """By `triton_grpc_error`."""
    async with made(EngineError("CUDA error at /opt/engine")).grpc() as stub:
        wanted = (("triton_grpc_error", "true"),)
        code, details = await status_of(answers_to(stub, asked(), metadata=wanted))
        assert (code, "/opt" in details) == ("INTERNAL", False)
        assert (await status_of(answers_to(stub, asked(model="nobody"), metadata=wanted)))[0] == "NOT_FOUND"
        assert (await status_of(stub.ModelInfer(asked(is_streaming=False))))[0] == "INTERNAL"


async def test_a_unary_call_refuses_what_has_several_responses(made):
    """Only a stream carries them."""
    async with made().grpc() as stub:
        code, details = await status_of(stub.ModelInfer(asked()))
        assert (code, "use ModelStreamInfer" in details) == ("INVALID_ARGUMENT", True)
        several = asked(is_streaming=False, num_return_sequences=2)
        assert (await status_of(stub.ModelInfer(several)))[0] == "INVALID_ARGUMENT"


async def test_a_client_that_leaves_ends_its_generations(made):
    """Upstream's stream is closed, so that the slot is free."""
    surroundings = made(Delta(" one"), "hang")
    async with surroundings.grpc() as stub:
        call = stub.ModelStreamInfer(iter([asked()]))
        await call.read()
        call.cancel()
        (stream,) = surroundings.upstreams.streams
        await until(lambda: stream.is_closed)


async def test_stop_ends_the_request_of_that_id_and_is_answered_empty(made):
    """As our own client cancels: at whatever model it takes for the engine."""
    surroundings = made(Delta(" one"), "hang")
    async with surroundings.grpc() as stub:
        call = stub.ModelStreamInfer(iter([asked("mine")]))
        await call.read()
        for name in ("other", "mine"):
            (answer,) = await answers_to(stub, to_message(build_cancel(name, "tensorrt_llm")))
            assert is_final(answer.infer_response)
            assert not answer.infer_response.outputs
        ((_, _, _, request_id, _),) = surroundings.upstreams.asked
        assert surroundings.upstreams.cancels == [("main", request_id)]
        call.cancel()


async def test_a_key_is_asked_for(made):
    """In metadata, as in the header; but for the server's health."""
    surroundings = made()
    auth = surroundings.gateway.config.auth.model_copy(update={"required": True})
    surroundings.gateway.authenticator.update(surroundings.gateway.config.model_copy(update={"auth": auth}))
    async with surroundings.grpc() as stub:
        assert (await status_of(stub.ModelInfer(asked(is_streaming=False))))[0] == "UNAUTHENTICATED"
        assert (await status_of(answers_to(stub, asked())))[0] == "UNAUTHENTICATED"
        ready = stub.ModelReady(service_pb2.ModelReadyRequest(name="chat"))
        assert (await status_of(ready))[0] == "UNAUTHENTICATED"
        assert (await stub.ServerLive(service_pb2.ServerLiveRequest())).live


async def test_who_guesses_keys_is_known_by_his_address(made):
    """By which guesses are counted, as over HTTP; the port changes with every connection."""
    surroundings = made()
    door = surroundings.gateway.authenticator = Door(RateLimitError("too many wrong keys from this address"))
    async with surroundings.grpc() as stub:
        assert (await status_of(stub.ModelInfer(asked(is_streaming=False))))[0] == "RESOURCE_EXHAUSTED"
        assert (await status_of(answers_to(stub, asked())))[0] == "RESOURCE_EXHAUSTED"
    assert door.addresses == ["127.0.0.1", "127.0.0.1"]


async def test_what_a_call_wishes_of_the_cache_is_read_from_its_metadata(made):
    """As from HTTP's headers, so that a wish that nobody knows is refused."""
    wish = (("x-trident-cache", "always"),)
    async with made().grpc() as stub:
        unary = stub.ModelInfer(asked(is_streaming=False), metadata=wish)
        assert (await status_of(unary))[0] == "INVALID_ARGUMENT"
        (answer,) = await answers_to(stub, asked(), metadata=wish)
        assert "x-trident-cache must be 'sampled'" in answer.error_message


async def test_a_client_that_does_not_read_is_let_go(made):
    """After `write_timeout_s`; what it had asked for ends too."""
    surroundings = made(*[Delta("x" * 65536)] * 1000, write_timeout_s=0.2)
    async with surroundings.grpc() as stub:
        call = stub.ModelStreamInfer(iter([asked()]))
        await call.read()
        (stream,) = surroundings.upstreams.streams
        await until(lambda: stream.is_closed)
        call.cancel()


async def test_a_stream_on_which_nothing_is_asked_ends_and_one_that_is_answered_does_not(made):
    """After `stream_idle_s`, however long the answer takes."""
    surroundings = made(Delta(" one"), "hang", stream_idle_s=0.1)
    async with surroundings.grpc() as stub:
        busy, idle = stub.ModelStreamInfer(), stub.ModelStreamInfer()
        await busy.write(asked())
        await busy.read()
        code, details = await status_of(idle.read())
        assert (code, "open another stream" in details) == ("DEADLINE_EXCEEDED", True)
        (stream,) = surroundings.upstreams.streams
        assert (busy.done(), stream.is_closed) == (False, False)
        busy.cancel()


async def test_a_tenant_cannot_have_every_stream_open(made):
    """A fourth of `max_connections`; who closes one may open another."""
    async with made(max_connections=8).grpc() as stub:
        held = [stub.ModelStreamInfer() for _ in range(2)]
        for call in held:
            await call.write(asked())
            await call.read()
        assert (await status_of(answers_to(stub, asked())))[0] == "RESOURCE_EXHAUSTED"
        await held[0].done_writing()
        while await held[0].read() is not grpc.aio.EOF:
            pass
        assert await answers_to(stub, asked())
        held[1].cancel()


async def test_every_answer_is_counted_by_its_status(made):
    """Refusals before a generation too: of the key, of the limits, of what was asked."""
    surroundings = made(ANSWER, [EngineError("broke")], ANSWER)
    gateway = surroundings.gateway
    identity = Identity("acme", "key", tenant_limits=Limits(concurrent_requests=1))
    async with surroundings.grpc() as stub:
        await answers_to(stub, asked(), asked(), asked(model="nobody"))
        await stub.ModelInfer(asked(is_streaming=False))
        gateway.authenticator = Door(identity)
        reservation = await gateway.limiter.reserve(identity, 1, 0.0)
        assert (await status_of(stub.ModelInfer(asked(is_streaming=False))))[0] == "RESOURCE_EXHAUSTED"
        await reservation.settle(0, 0.0)
        gateway.authenticator = Door(AuthenticationError("no key"))
        await status_of(stub.ModelInfer(asked(is_streaming=False)))
        await status_of(answers_to(stub, asked()))
    page = gateway.metrics.page().decode()
    told = re.findall(r'trident_gateway_grpc_responses_total{method="(\w+)",status="(\w+)"} (\d+)', page)
    assert set(told) == {
        ("ModelStreamInfer", "OK", "1"), ("ModelStreamInfer", "INTERNAL", "1"), ("ModelStreamInfer", "NOT_FOUND", "1"),
        ("ModelStreamInfer", "UNAUTHENTICATED", "1"), ("ModelInfer", "OK", "1"),
        ("ModelInfer", "RESOURCE_EXHAUSTED", "1"), ("ModelInfer", "UNAUTHENTICATED", "1"),
    }  # fmt: skip
