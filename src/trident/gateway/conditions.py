"""A rule's condition, asked of a request."""

from __future__ import annotations

from collections.abc import Mapping

from trident.gateway.asked import Asked
from trident.gateway.patterns import MAX_SEARCHED_CHARS, compile_pattern
from trident.gateway.prompt_text import estimated_tokens, last_user_text, whole_text
from trident.gateway.routing_rules import Rule


class RuleTest:
    """A rule with its pattern compiled. What costs least is looked at first."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.classifier = rule.when.classifier
        pattern = rule.when.prompt_matches
        self._pattern = None if pattern is None else compile_pattern(pattern)

    def holds(self, asked: Asked, model: str, labels: Mapping[str, str]) -> bool:
        """`model`: the route's own name; `labels`: by classifier."""
        if self.classifier is not None and labels.get(self.classifier) != self.rule.when.label:
            return False
        return self.holds_but_for_label(asked, model)

    def holds_but_for_label(self, asked: Asked, model: str) -> bool:
        """Likewise, whatever a classifier would say."""
        return self._asker_fits(asked, model) and self._prompt_fits(asked)

    def _asker_fits(self, asked: Asked, model: str) -> bool:
        when = self.rule.when
        return (
            (when.model is None or when.model == model)
            and (not when.tenant or asked.identity.tenant in when.tenant)
            and (not when.group or bool(when.group & asked.identity.groups))
            and (not when.operation or asked.operation in when.operation)
            and (when.has_tools is None or when.has_tools == bool(asked.sampling.tools))
        )

    def _prompt_fits(self, asked: Asked) -> bool:
        when = self.rule.when
        if when.min_prompt_tokens is not None or when.max_prompt_tokens is not None:
            num_tokens = estimated_tokens(whole_text(asked.prompt))
            if num_tokens < (when.min_prompt_tokens or 0):
                return False
            if when.max_prompt_tokens is not None and num_tokens > when.max_prompt_tokens:
                return False
        if self._pattern is None:
            return True
        text = last_user_text(asked.prompt)[:MAX_SEARCHED_CHARS]
        return self._pattern.search(text.encode("utf-8", "replace").decode()) is not None  # RE2 reads whole UTF-8
