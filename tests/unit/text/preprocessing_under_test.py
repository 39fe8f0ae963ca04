"""Preprocessing over a small tokenizer, with room for short prompts."""

from __future__ import annotations

import json

from tests.unit.manifests import LIMITS, MANIFEST
from tests.unit.text import tokenizers_under_test as under_test
from trident.safety.chain import InputChain
from trident.safety.policy import read_policy
from trident.text.chat_template import ChatTemplate
from trident.text.preprocessing import Preprocessing
from trident.text.prompt_templates import read_prompt_templates
from trident.text.tokenizer import Tokenizer

CHATML = (
    "{% for message in messages %}{{ '<s>' + message['role'] + '\n' + message['content'] + '</s>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
)
BACKEND = under_test.byte_level_bpe()
ROOMY = LIMITS.model_copy(update={"max_input_tokens": 200, "max_seq_tokens": 400, "kv_cache_tokens": 400})
TOOLS = "{% if tools %}{{ tools | tojson }}{% endif %}<tool_call>arguments{{ messages[0].content }}<think>\n"
USER = {"role": "user", "content": "go on"}


def preprocessing(template=CHATML, limits=ROOMY, policy=None, backend=BACKEND) -> Preprocessing:
    chat = ChatTemplate(template, {"bos_token": "<s>"}) if template else None
    return Preprocessing(
        Tokenizer(backend, chat), limits, MANIFEST.tokens, read_prompt_templates(None), InputChain(read_policy(policy))
    )


def chat(*messages) -> bytes:
    return json.dumps(messages).encode()


def encode(prompt):
    return preprocessing().encode([prompt])[0]
