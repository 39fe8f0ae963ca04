"""A server that does as its script says: a real grpc.aio server and a real HTTP one, on one background loop.

It knows of Triton's protocols what the client needs, and lets a test decide what goes wrong.
"""

import asyncio
import contextlib
import json
import ssl
import threading
from urllib.parse import unquote

import grpc
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2, service_pb2_grpc

from .scripted_steps import (
    Complain,
    Die,
    Embed,
    Hang,
    Refuse,
    Say,
    Vanish,
    as_head,
    as_infer_json,
    as_infer_message,
    as_json,
    as_message,
    values_of,
)

__all__ = ["Complain", "Die", "Embed", "Hang", "Refuse", "Say", "ScriptedServer", "Vanish"]

ENGINE = "tensorrt_llm"
STATISTICS = {"model_stats": [{"name": "ensemble", "version": "1", "inference_count": 5, "execution_count": 3}]}


class ScriptedServer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """`script`: what happens to the next requests; `scripts`: before that, to the next one each.

    `requests`: what came, as dicts with id, model, inputs, shapes (gRPC) and headers. `configs`: by model, what it says
    of itself; a model that is not there says nothing.
    """

    def __init__(self, tls=None):
        self.script = []
        self.scripts = []
        self.requests = []
        self.tells_models = True  # a gateway does not
        self.configs = {}
        self.num_sent = 0  # responses
        self.is_dribbling = False  # HTTP: send byte by byte
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._cancelled = asyncio.Event()
        self._has_vanished = asyncio.Event()
        self._wires = set()

    def start(self):
        self._thread.start()
        self._run(self._start())

    def stop(self):
        self._loop.call_soon_threadsafe(self._cancelled.set)
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def cancels(self):
        """Ids of the cancel requests that came."""
        return [seen["id"] for seen in self.requests if seen["inputs"].get("stop") in ([True], True)]

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self):
        self._grpc = grpc.aio.server()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._grpc)
        context = None
        if self._tls is None:
            self._grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
        else:
            self._grpc_port = self._grpc.add_secure_port("127.0.0.1:0", self._tls.grpc_credentials())
            context = self._tls.ssl_context()
        await self._grpc.start()
        self._http = await asyncio.start_server(self._serve_http, "127.0.0.1", 0, ssl=context)
        self._wire = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.http_url, self.grpc_url = (
            f"127.0.0.1:{it.sockets[0].getsockname()[1]}" for it in (self._http, self._wire)
        )

    async def _stop(self):
        self._http.close()
        self._wire.close()
        self._cut()
        await self._grpc.stop(None)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    def _seen(self, request_id, model, inputs, headers, shapes=None):
        self.requests.append(
            {"id": request_id, "model": model, "inputs": inputs, "headers": dict(headers), "shapes": shapes}
        )
        if inputs.get("stop") in ([True], True):
            self._cancelled.set()
            return []
        return self.scripts.pop(0) if self.scripts else self.script

    # gRPC

    async def ServerLive(self, request, context):  # noqa: N802 - the name in the protocol, as below
        return service_pb2.ServerLiveResponse(live=True)

    async def ModelReady(self, request, context):  # noqa: N802
        return service_pb2.ModelReadyResponse(ready=request.name == "ensemble")

    async def ModelStatistics(self, request, context):  # noqa: N802
        if not self.tells_models:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        return ParseDict(STATISTICS, service_pb2.ModelStatisticsResponse())

    async def ModelConfig(self, request, context):  # noqa: N802
        if request.name not in self.configs:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no configurations here")
        return ParseDict({"config": self.configs[request.name]}, service_pb2.ModelConfigResponse())

    async def ModelMetadata(self, request, context):  # noqa: N802
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no metadata here")

    async def ModelInfer(self, request, context):  # noqa: N802
        shapes = {tensor.name: list(tensor.shape) for tensor in request.inputs}
        headers = context.invocation_metadata()
        (step,) = self._seen(request.id, request.model_name, values_of(request), headers, shapes)
        if isinstance(step, Refuse):
            await context.abort(grpc.StatusCode[step.grpc_status], step.text)
        if isinstance(step, Hang):
            await self._cancelled.wait()
        return as_infer_message(request, step)

    async def ModelStreamInfer(self, requests, context):  # noqa: N802
        async for request in requests:
            shapes = {tensor.name: list(tensor.shape) for tensor in request.inputs}
            headers = context.invocation_metadata()
            steps = self._seen(request.id, request.model_name, values_of(request), headers, shapes)
            if not steps:
                yield as_message(request, Say(b"", is_final=True), outputs=False)
            for step in steps:
                if isinstance(step, Refuse):
                    await context.abort(grpc.StatusCode[step.grpc_status], step.text)
                if isinstance(step, Die):
                    await asyncio.sleep(0.05)  # what was said before has left
                    self._cut()
                if isinstance(step, Vanish):
                    await asyncio.sleep(0.05)
                    self._has_vanished.set()
                if isinstance(step, (Die, Hang, Vanish)):
                    await self._cancelled.wait()
                elif isinstance(step, Complain):
                    yield service_pb2.ModelStreamInferResponse(error_message=step.text)
                else:
                    yield as_message(request, step)
                    self.num_sent += 1

    async def _forward(self, reader, writer):
        """Pass gRPC's bytes on, over a connection that can be cut as when a server is killed."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._grpc_port)
        self._wires |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                if not self._has_vanished.is_set():
                    writer.write(piece)
                    await writer.drain()
        writer.close()

    def _cut(self):
        for writer in self._wires:
            writer.transport.abort()
        self._wires.clear()

    # HTTP

    async def _serve_http(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):  # the client left
            await self._answer_http(reader, writer)
        writer.close()

    async def _answer_http(self, reader, writer):
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        verb, path, _ = first.split()
        if verb == "GET":
            status, answer = self._get([unquote(part) for part in path.split("/")[2:]])
            payload = json.dumps(answer).encode() if answer is not None else b""
            writer.write(as_head(status, len(payload)) + payload)
            return
        model, call = (unquote(part) for part in path.split("/")[3:])
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        if call == "infer":
            await self._infer_http(writer, model, body, headers)
            return
        steps = self._seen(body.pop("id"), model, body, headers)
        if call == "generate" or (steps and isinstance(steps[0], Refuse)):
            if isinstance(steps[0], Hang):
                await self._cancelled.wait()
            if isinstance(steps[0], (Die, Hang)):
                return
            payload = as_json(steps[0]) if call == "generate" else b"data: " + as_json(steps[0]) + b"\n\n"
            status = steps[0].http_status if isinstance(steps[0], Refuse) else 200
            writer.write(as_head(status, len(payload)) + payload)
            return
        await self._stream_http(writer, steps)

    async def _infer_http(self, writer, model, body, headers):
        values = {tensor["name"]: tensor["data"] for tensor in body["inputs"]}
        shapes = {tensor["name"]: tensor["shape"] for tensor in body["inputs"]}
        (step,) = self._seen(body["id"], model, values, headers, shapes)
        if isinstance(step, Hang):
            await self._cancelled.wait()
        payload = as_infer_json(step)
        writer.write(as_head(step.http_status if isinstance(step, Refuse) else 200, len(payload)) + payload)

    def _get(self, parts):
        """Status and JSON of "models/NAME[/WHAT]", "models/stats" or "health/WHAT"."""
        if parts[0] == "health":
            return 200, None
        model, what = parts[1], parts[2] if len(parts) > 2 else ""
        if model == "stats" and self.tells_models:
            return 200, STATISTICS
        if what == "ready":
            return (200 if model == "ensemble" else 400), None
        if what == "config" and model in self.configs:
            return 200, self.configs[model]
        return 404, {"error": "there is nothing here"}

    async def _stream_http(self, writer, steps):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for step in steps:
            if isinstance(step, Die):
                return
            if isinstance(step, Hang):
                await self._cancelled.wait()
                continue
            event = b"data: " + as_json(step) + b"\n\n"
            for piece in [bytes([byte]) for byte in event] if self.is_dribbling else [event]:
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
            self.num_sent += 1
        writer.write(b"0\r\n\r\n")


class ServerTls:
    """A server's half of an encrypted connection; `client_ca`: it asks clients to prove themselves too."""

    def __init__(self, cert_file, key_file, client_ca=None):
        self.cert_file, self.key_file, self.client_ca = cert_file, key_file, client_ca

    def grpc_credentials(self):
        pair = (self.key_file.read_bytes(), self.cert_file.read_bytes())
        ca = self.client_ca.read_bytes() if self.client_ca else None
        return grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)

    def ssl_context(self):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.client_ca)
        context.load_cert_chain(self.cert_file, self.key_file)
        context.verify_mode = ssl.CERT_REQUIRED if self.client_ca else ssl.CERT_NONE
        return context
