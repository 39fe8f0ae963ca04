"""What a request takes and costs: the estimate that is reserved before it runs, and the count when it is over."""

from __future__ import annotations

from collections.abc import Sequence

from trident.gateway.asked import Asked, Outcome
from trident.gateway.prompt_text import estimated_tokens, whole_text
from trident.gateway.routing_rules import Price
from trident_client.completion import Delta, assemble


def cost_of(price: Price, num_input_tokens: int, num_output_tokens: int, num_cached_tokens: int = 0) -> float:
    """In the currency of the price; cached tokens are part of the input and cost less where the price says so."""
    cached_price = price.input_per_million if price.cached_per_million is None else price.cached_per_million
    return (
        (num_input_tokens - num_cached_tokens) * price.input_per_million
        + num_cached_tokens * cached_price
        + num_output_tokens * price.output_per_million
    ) / 1e6


def expected_tokens(asked: Asked) -> tuple[int, int]:
    """Of the prompt, about, and of the completion, at most."""
    num_sequences = asked.sampling.num_return_sequences or 1
    return estimated_tokens(whole_text(asked.prompt)), asked.sampling.max_tokens * num_sequences


def count(outcome: Outcome, deltas: Sequence[Delta], price: Price) -> None:
    """Fill in completion, tokens and cost; of an answer that was cut off the estimate of what it had taken."""
    if not deltas:
        return
    completion = outcome.completion = assemble(outcome.asked.request_id, deltas)
    counted = completion.num_input_tokens
    outcome.num_input_tokens = expected_tokens(outcome.asked)[0] if counted is None else counted
    outcome.num_output_tokens = sum(
        estimated_tokens(each.reasoning + each.text) if each.num_output_tokens is None else each.num_output_tokens
        for each in (completion, *completion.others)
    )
    outcome.num_cached_tokens = completion.num_cached_tokens or 0
    if not outcome.cache:
        outcome.cost = cost_of(price, outcome.num_input_tokens, outcome.num_output_tokens, outcome.num_cached_tokens)
