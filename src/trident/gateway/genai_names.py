"""OpenTelemetry's names for generative AI, in one place because they still change; as Prometheus spells them.

https://github.com/open-telemetry/semantic-conventions-genai (status: Development)
"""

from __future__ import annotations

PROVIDER = "triton"

# Span attributes, and labels of metrics with "_" for "."
OPERATION = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHED_TOKENS = "gen_ai.usage.cache_read.input_tokens"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - "input" or "output"
ERROR_TYPE = "error.type"

# Histograms, in seconds and in tokens, with the buckets that the conventions ask for
REQUEST_DURATION = "gen_ai.server.request.duration"
TIME_TO_FIRST_TOKEN = "gen_ai.server.time_to_first_token"  # noqa: S105
TIME_PER_OUTPUT_TOKEN = "gen_ai.server.time_per_output_token"  # noqa: S105
TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105

BUCKETS: dict[str, tuple[float, ...]] = {
    REQUEST_DURATION: (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    TIME_TO_FIRST_TOKEN: (
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    ),
    TIME_PER_OUTPUT_TOKEN: (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
    TOKEN_USAGE: tuple(float(4**power) for power in range(14)),
}  # fmt: skip


def prometheus_name(name: str, unit: str = "") -> str:
    """`gen_ai.server.request.duration` in "seconds" is `gen_ai_server_request_duration_seconds`."""
    return "_".join(part for part in (name.replace(".", "_"), unit) if part)
