"""Engines in MLflow's model registry: one registered model for each engine name, one model version for each engine.

A version is logged once, with its recipe, manifest, figures and plots; the engine's files stay where they are.
`mlflow` (extra `registry`) is imported here only.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from trident.errors import HostError, UnavailableError
from trident.manifest import FILE_NAME, Manifest, read_manifest

DATABASE = "registry.db"
VERSION_TAG = "trident.engine_version"  # of a model version: the engine's own
_LOGGED = (
    "*.png",
    "quality.json",
    "checkpoint_report.*",
    "recipe.json",
    FILE_NAME,
)  # files of the engine directory that are logged


def default_uri(engines: Path) -> str:
    """sqlite beside the engines."""
    return f"sqlite:///{(engines / DATABASE).absolute()}"


def register(engine_directory: Path, uri: str, *aliases: str) -> int:
    """Log the engine as a model version unless it is one, give it the aliases, and return the version's number.

    Args:
        engine_directory: of a finished engine.
        uri: MLflow's tracking URI: `sqlite:////path/registry.db`, `http://host:5000`.
        aliases: such as `champion` and `canary`; each is taken from the version that has it now.

    Raises:
        ManifestError: it is no engine.
        HostError: mlflow is not installed.
        UnavailableError: the registry cannot be reached or refuses.
    """
    manifest = read_manifest(engine_directory)
    mlflow = _mlflow()
    try:
        client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        version = _find(client, manifest) or _log(client, manifest, engine_directory, uri)
        for alias in aliases:
            client.set_registered_model_alias(manifest.name, alias, version)
    except mlflow.exceptions.MlflowException as exc:
        raise UnavailableError(f"the registry at {uri} refuses: {exc}") from exc
    except Exception as exc:  # sqlalchemy's and requests' own errors, which mlflow does not translate
        raise UnavailableError(f"the registry at {uri} cannot be used ({type(exc).__name__}: {exc})") from exc
    return int(version)


def _mlflow() -> Any:
    # A build must not wait minutes for a registry that is away, nor tell anybody about itself.
    for name, value in (("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"), ("MLFLOW_DISABLE_TELEMETRY", "true")):
        os.environ.setdefault(name, value)
    try:
        import mlflow  # noqa: PLC0415 - 2 s, and an extra
        import sqlalchemy  # noqa: F401, PLC0415 - mlflow-skinny itself does not ask for it
    except ImportError as exc:
        raise HostError(f"{exc.name} is not installed; pip install 'trident-llm[registry]'") from exc
    for logger in ("mlflow", "alembic"):  # after the import, which sets the levels itself
        logging.getLogger(logger).setLevel(logging.WARNING)
    return mlflow


def _find(client: Any, manifest: Manifest) -> str | None:
    """The model version that was logged for this engine before."""
    for version in client.search_model_versions(f"name='{manifest.name}'"):
        if version.tags.get(VERSION_TAG) == manifest.version:
            return str(version.version)
    return None


def _log(client: Any, manifest: Manifest, directory: Path, uri: str) -> str:
    if not client.search_registered_models(f"name='{manifest.name}'"):
        client.create_registered_model(manifest.name, description=manifest.source.model)
    run_id = client.create_run(_experiment(client, uri), run_name=f"{manifest.name}@{manifest.version}").info.run_id
    for key, value in _parameters(manifest).items():
        client.log_param(run_id, key, value)
    for key, figure in manifest.quality.items():
        client.log_metric(run_id, key, figure)
    for pattern in _LOGGED:
        for path in sorted(directory.glob(pattern)):
            client.log_artifact(run_id, str(path))
    client.set_terminated(run_id)
    version = client.create_model_version(
        manifest.name,
        source=directory.absolute().as_uri(),
        run_id=run_id,
        tags={VERSION_TAG: manifest.version, "precision": manifest.precision, "kind": manifest.kind.value},
    )
    return str(version.version)


def _experiment(client: Any, uri: str) -> str:
    """The experiment `trident`; of a local registry its artifacts lie beside the database."""
    found = client.get_experiment_by_name("trident")
    if found is not None:
        return str(found.experiment_id)
    is_local = uri.startswith("sqlite:///")
    place = Path(uri.removeprefix("sqlite:///")).parent / "registry" if is_local else None
    return str(client.create_experiment("trident", artifact_location=place.absolute().as_uri() if place else None))


def _parameters(manifest: Manifest) -> dict[str, str]:
    return {
        "recipe": manifest.recipe,
        "recipe_sha256": manifest.recipe_sha256,
        "kind": manifest.kind.value,
        "precision": manifest.precision,
        "source": manifest.source.locator,
        "built_at": manifest.built_at,
        **{f"tool.{tool.replace(' ', '_')}": version for tool, version in manifest.tools.items()},
        **{f"limit.{key}": str(value) for key, value in manifest.limits},
    }
