"""The deployment's policy: one section for each check, typed, frozen, unknown keys refused.

It knows nothing of how a check works. A deny list's file is read here, so that everything after it is pure.
"""

from __future__ import annotations

import hashlib
import json
import sys
from enum import Enum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trident.errors import SettingsError
from trident.faults import explain_invalid
from trident.manifest import RelativePath
from trident.safety.verdict import Action

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore] # only there below Python 3.11

MAX_ENTRY_CHARS = 256  # of a deny list: as much as is ever held back for it

Side = Literal["input", "output"]
RedactOrBlock = Literal[Action.REDACT, Action.BLOCK]
PiiEntity = Literal[
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "IBAN_CODE",
    "IP_ADDRESS",
    "MAC_ADDRESS",
    "US_SSN",
    "CRYPTO",
]
SecretKind = Literal[
    "anthropic_key",
    "aws_key",
    "azure_storage_key",
    "basic_auth",
    "discord_token",
    "github_token",
    "gitlab_token",
    "google_key",
    "hugging_face_token",
    "json_web_token",
    "mailchimp_key",
    "openai_key",
    "private_key",
    "pypi_token",
    "sendgrid_key",
    "slack_token",
    "square_token",
    "stripe_key",
    "telegram_token",
    "twilio_key",
]


class Mode(str, Enum):
    """Whether a check runs, and whether what it says is done."""

    OFF = "off"
    MONITOR = "monitor"
    ENFORCE = "enforce"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CharactersSection(_Section):
    """Characters that a reader does not see: controls, zero-width, bidi overrides, tags, unpaired surrogates."""

    mode: Mode = Mode.MONITOR
    action: RedactOrBlock = Action.REDACT
    nfkc: bool = False  # also bring the prompt to Unicode's form NFKC


class LengthsSection(_Section):
    """Limits on a prompt before anything expensive looks at it; None is no limit."""

    mode: Mode = Mode.ENFORCE
    max_chars: int | None = Field(default=1_000_000, ge=1)  # about 250,000 tokens
    max_lines: int | None = Field(default=None, ge=1)
    max_run: int | None = Field(default=None, ge=1)  # of one and the same character


class DenyListSection(_Section):
    """Words and phrases of the operator's own."""

    mode: Mode = Mode.OFF
    on: tuple[Side, ...] = ("input", "output")
    action: RedactOrBlock = Action.BLOCK
    words: tuple[str, ...] = ()
    file: RelativePath | None = None  # beside the policy, one entry a line, # starts a comment
    ignore_case: bool = True
    whole_words: bool = True  # false for scripts that put no spaces between words


class InjectionSection(_Section):
    """Rules against prompts that try to talk the model out of its instructions."""

    mode: Mode = Mode.OFF
    threshold: float = Field(default=0.7, gt=0, le=1)


class PiiSection(_Section):
    """Personal data that has a form: addresses and numbers, no names."""

    mode: Mode = Mode.OFF
    on: tuple[Side, ...] = ("input", "output")
    action: RedactOrBlock = Action.REDACT
    entities: tuple[PiiEntity, ...] = Field(
        default=("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "US_SSN"), min_length=1
    )
    phone_regions: tuple[str, ...] = ("US", "GB")  # ISO 3166, for numbers without a +; each costs time on every number
    min_score: float = Field(default=0.4, gt=0, le=1)  # presidio's own; 0.4 is a number that looks like a phone's


class SecretsSection(_Section):
    """Credentials with a recognisable form."""

    mode: Mode = Mode.OFF
    on: tuple[Side, ...] = ("input", "output")
    action: RedactOrBlock = Action.REDACT
    kinds: tuple[SecretKind, ...] = Field(default=SecretKind.__args__, min_length=1)  # type: ignore[attr-defined]


class JsonOutputSection(_Section):
    """Whether a whole completion is JSON, said at its end."""

    mode: Mode = Mode.OFF
    when: Literal["requested", "always"] = "requested"


class Policy(_Section):
    """Everything that is checked in one deployment. The default is cheap and refuses only what cannot be served."""

    lengths: LengthsSection = LengthsSection()
    characters: CharactersSection = CharactersSection()
    deny_list: DenyListSection = DenyListSection()
    injection: InjectionSection = InjectionSection()
    secrets: SecretsSection = SecretsSection()
    pii: PiiSection = PiiSection()
    json_output: JsonOutputSection = JsonOutputSection()

    @property
    def sha256(self) -> str:
        """Of all that it says, hexadecimal."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def read_policy(path: Path | None) -> Policy:
    """The policy of a TOML file, its deny list's file read into `deny_list.words`; the default one without a path.

    Raises:
        SettingsError: no such file, not TOML, an unknown key or a bad value, named with the nearest valid name.
    """
    if path is None:
        return Policy()
    try:
        values = tomllib.loads(_read_text(path))
        policy = Policy.model_validate_json(json.dumps(values, default=str), strict=True)
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(f"{path} is not TOML: {exc}") from exc
    except ValidationError as exc:
        raise SettingsError(f"{path} is not a valid policy: {explain_invalid(exc, Policy)}") from exc
    section = policy.deny_list
    if section.file is None:
        return policy
    lines = (line.strip() for line in _read_text(path.parent / section.file).splitlines())
    words = (*section.words, *(line for line in lines if line and not line.startswith("#")))
    return policy.model_copy(update={"deny_list": section.model_copy(update={"words": words, "file": None})})


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"the policy's file {path} cannot be read: {exc}") from exc
