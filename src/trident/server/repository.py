"""Which model repository is served: the configured one, or the one that came with Trident."""

from __future__ import annotations

from pathlib import Path

import trident
from trident.contract import ENSEMBLE
from trident.errors import RepositoryError


def default_repository() -> Path:
    """`trident/data/model_repository` of a wheel install, or `model_repository` of a checkout."""
    return _shipped("model_repository")


def embedding_repository() -> Path:
    """Likewise, of the model `embedding`, which is served beside the others where it is asked for."""
    return _shipped("embedding_repository")


def _shipped(name: str) -> Path:
    package = Path(trident.__file__).resolve().parent
    installed = package / "data" / name
    return installed if installed.is_dir() else package.parents[1] / name


def find_repository(configured: Path | None) -> Path:
    """The absolute path of the repository to serve.

    Raises:
        RepositoryError: it has no `ensemble` model.
    """
    repository = (configured or default_repository()).resolve()
    if not (repository / ENSEMBLE.name / "config.pbtxt").is_file():
        raise RepositoryError(
            f"no model repository at {repository}: it has no {ENSEMBLE.name}/config.pbtxt; "
            "set --repository (or TRIDENT_REPOSITORY) to one that has, or unset it for Trident's own"
        )
    return repository
