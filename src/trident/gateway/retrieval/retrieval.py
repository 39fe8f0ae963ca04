"""Retrieval as one part of the gateway: collections, what fills them, and chats that are answered from them.

Nothing is opened, and every request for it refused, where the file's `[collections]` names no model.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from trident.errors import InvalidRequestError, NotFoundError, SettingsError, UnsupportedParameterError
from trident.gateway.cache.embedder import RouteEmbedder
from trident.gateway.config import GatewayConfig
from trident.gateway.database import Database
from trident.gateway.identity import Identity
from trident.gateway.retrieval.collection_index import CollectionIndex
from trident.gateway.retrieval.collection_store import CollectionStore
from trident.gateway.retrieval.grounding import Grounding, ground, template_fault
from trident.gateway.retrieval.ingestion import Ingestion
from trident.gateway.retrieval.settings import ModelRetrieval
from trident.gateway.router import Router
from trident.gateway.text_models import TextModels
from trident.gateway.upstreams import Upstreams
from trident.settings import read_settings
from trident.text.prompt_templates import PromptTemplates, read_prompt_templates
from trident_client.openai_request import OpenAIRequest
from trident_client.request import Messages


class Collections:
    """Those that are kept, when there are any."""

    def __init__(self, config: GatewayConfig, router: Router, upstreams: Upstreams, database: Database) -> None:
        from trident.gateway.cache.memory_vectors import MemoryVectors  # noqa: PLC0415 - only where it is asked for

        settings = config.collections
        embed = RouteEmbedder(settings.model, router, upstreams)
        self.store = CollectionStore(database)
        self.index = CollectionIndex(self.store, MemoryVectors(sys.maxsize), embed, settings.model, settings.poll_s)
        self.ingestion = Ingestion(settings, self.store, self.index, embed.read)


class Retrieval:
    """Of one worker process."""

    def __init__(
        self, config: GatewayConfig, router: Router, upstreams: Upstreams, text_models: TextModels, database: Database
    ) -> None:
        self._config = config
        self._router = router
        self._text_models = text_models
        self._collections = Collections(config, router, upstreams, database) if config.collections.model else None
        self._templates = PromptTemplates([])

    @property
    def collections(self) -> Collections:
        """Raises NotFoundError: the file names no model for them."""
        if self._collections is None:
            raise NotFoundError("collections are off; set model in [collections]", code="collections_off")
        return self._collections

    async def start(self) -> None:
        """Fill the index, where there is one.

        Raises:
            SettingsError: a model names a template that cannot be used.
        """
        if self._collections is None:
            return
        self._templates = read_prompt_templates(read_settings().prompts)
        self.check(self._config)
        await self._collections.index.start()

    def check(self, config: GatewayConfig) -> None:
        """Whether its models can be answered from documents by what was opened at the start.

        Raises:
            SettingsError: one cannot, or the model that embeds is gone.
        """
        for name, route in config.models.items():
            if route.retrieval is not None:
                if self._collections is None:
                    raise SettingsError(f"models.{name}.retrieval: collections are off until the next start")
                self._check_template(name, route.retrieval)
        embeds = self._config.collections.model
        if embeds and embeds not in config.models:
            raise SettingsError(f"models: '{embeds}' embeds the collections until the next start; keep it")

    async def close(self) -> None:
        """Nothing is asked any more."""
        if self._collections is not None:
            await self._collections.index.close()

    async def ground(
        self, request_id: str, identity: Identity, model: str, asked: OpenAIRequest, settings: ModelRetrieval
    ) -> Grounding:
        """The chat with passages in it; errors as of `grounding.ground`."""
        sampling = asked.sampling

        async def count(messages: Messages) -> int:
            ids = await self._text_models.token_ids(
                model,
                request_id,
                messages,
                tools=sampling.tools,
                chat_template_kwargs=sampling.chat_template_kwargs,
                max_tokens=sampling.max_tokens,
            )
            return len(ids)

        (messages,) = asked.prompts
        if isinstance(messages, str):
            raise InvalidRequestError("retrieval needs messages", param="retrieval")
        template = self._templates.find(settings.template)
        return await ground(messages, identity.tenant, settings, self.collections.index, template, count)

    def settings_of(self, model: str, identity: Identity, wish: Mapping[str, Any] | None) -> ModelRetrieval | None:
        """The file's, with what the request says in its field `retrieval`; None: neither asks for passages.

        Raises:
            UnsupportedParameterError: the model answers from no documents.
            InvalidRequestError: there is no collection named.
            NotFoundError, PermissionDeniedError: as `Router.route_of`.
        """
        _, route = self._router.route_of(model, identity)
        settings = route.retrieval
        if settings is None:
            if wish is None or wish.get("top_k") == 0:
                return None
            raise UnsupportedParameterError(
                f"the model '{model}' answers from no documents: its operator has set no [models.{model}.retrieval]",
                param="retrieval",
            )
        asked = {name: value for name, value in (wish or {}).items() if value is not None}
        if asked.get("top_k") == 0:
            return None
        if "max_context_tokens" in asked:
            asked["max_context_tokens"] = min(asked["max_context_tokens"], settings.max_context_tokens)
        settings = settings.model_copy(update=asked)
        if settings.collection:
            return settings
        if wish is None:
            return None
        raise InvalidRequestError("'retrieval.collection' is required", param="retrieval.collection")

    def _check_template(self, model: str, settings: ModelRetrieval) -> None:
        try:
            fault = template_fault(self._templates.find(settings.template))
        except InvalidRequestError as exc:
            raise SettingsError(f"models.{model}.retrieval.template: {exc.message}") from exc
        if fault is not None:
            raise SettingsError(f"models.{model}.retrieval.template: {settings.template} cannot be used: {fault}")
