"""What tokens cost, at the prices of a route."""

from __future__ import annotations

from trident.gateway.routing_rules import Price


def cost_of(price: Price, num_input_tokens: int, num_output_tokens: int, num_cached_tokens: int = 0) -> float:
    """In the currency of the price; cached tokens are part of the input and cost less where the price says so."""
    cached_price = price.input_per_million if price.cached_per_million is None else price.cached_per_million
    return (
        (num_input_tokens - num_cached_tokens) * price.input_per_million
        + num_cached_tokens * cached_price
        + num_output_tokens * price.output_per_million
    ) / 1e6
