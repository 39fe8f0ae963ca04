"""Trident's Python client: a completion from a Triton LLM ensemble, whole or as a stream, over gRPC or HTTP."""

from trident_client.async_client import AsyncClient
from trident_client.batch import BatchRequest, BatchResult
from trident_client.client import Client
from trident_client.completion import Beam, Completion, Delta, PerfMetrics
from trident_client.connection import Connection, Tls
from trident_client.embedding import Embeddings
from trident_client.interface import ModelInterface
from trident_client.metrics import Metrics, Sample
from trident_client.model_reader import ServedModel
from trident_client.pool import Health
from trident_client.request import TemplatePrompt
from trident_client.retry import Retry
from trident_client.sampling import Sampling
from trident_client.stream import AsyncStream
from trident_client.sync_stream import Stream

__all__ = [
    "AsyncClient",
    "AsyncStream",
    "BatchRequest",
    "BatchResult",
    "Beam",
    "Client",
    "Completion",
    "Connection",
    "Delta",
    "Embeddings",
    "Health",
    "Metrics",
    "ModelInterface",
    "PerfMetrics",
    "Retry",
    "Sample",
    "Sampling",
    "ServedModel",
    "Stream",
    "TemplatePrompt",
    "Tls",
]
