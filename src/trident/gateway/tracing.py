"""What a request's server span says of its generations.

FastAPI opens the span and continues the client's `traceparent`; `trident_client` opens the next one inside it, towards
Triton. Nothing happens where OpenTelemetry's SDK is not configured.
"""

from __future__ import annotations

from opentelemetry import trace

from trident.gateway import genai_names as names
from trident.gateway.asked import Asked, Outcome


class Tracing:
    """An observer."""

    def began(self, asked: Asked) -> None:
        """As an observer of exchanges."""
        trace.get_current_span().set_attributes(
            {
                names.OPERATION: asked.operation,
                names.PROVIDER_NAME: names.PROVIDER,
                names.REQUEST_MODEL: asked.model,
                names.REQUEST_MAX_TOKENS: asked.sampling.max_tokens,
                "trident.request.id": asked.request_id,
                "trident.tenant": asked.identity.tenant,
            }
        )

    def ended(self, outcome: Outcome) -> None:
        """As an observer of exchanges."""
        span = trace.get_current_span()
        span.set_attributes(
            {
                "trident.deployment": outcome.deployment,
                "trident.retries": outcome.num_retries,
                names.INPUT_TOKENS: outcome.num_input_tokens,
                names.OUTPUT_TOKENS: outcome.num_output_tokens,
                names.CACHED_TOKENS: outcome.num_cached_tokens,
            }
        )
        if outcome.error is not None:
            span.set_attribute(names.ERROR_TYPE, type(outcome.error).__name__)
