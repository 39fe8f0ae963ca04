"""A repository of the Hugging Face hub, into the hub's own cache, in a process of its own (see `child`).

The only import of huggingface_hub. Downloads resume where they broke off; offline, what the cache holds is enough.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from trident.errors import HostError, RecipeError
from trident_build.capacity import check_disk
from trident_build.child import report_steps, serve_actions

PATTERNS = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model"]
# Other forms of the same weights: folders such as original/ and onnx/, and Mistral's own consolidated file.
OTHERS = ["*/*", "consolidated*"]
REPORT_INTERVAL_S = 0.5
MB = 1_000_000


def _transport_errors() -> Iterator[type[Exception]]:
    for name in ("httpx", "httpx2"):  # huggingface_hub 1 and 2
        with suppress(ModuleNotFoundError):
            yield importlib.import_module(name).TransportError


_UNREACHABLE = tuple(_transport_errors())


def download(repo: str, revision: str) -> str:
    """The folder of the snapshot; its name is the commit.

    Raises:
        RecipeError: no such repository or revision, or a gated one.
        HostError: offline and not in the cache, or the disk is too small.
    """
    try:
        sizes = _sizes(repo, revision)
        blobs = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "blobs"
        check_disk(Path(constants.HF_HUB_CACHE), sizes - _bytes_in(blobs))
        done = threading.Event()
        threading.Thread(target=_watch, args=(blobs, sizes, done), daemon=True).start()
        try:
            return str(snapshot_download(repo, revision=revision, allow_patterns=PATTERNS, ignore_patterns=OTHERS))
        finally:
            done.set()
    except GatedRepoError as exc:
        raise RecipeError(
            f"{repo} is gated: accept its licence at https://huggingface.co/{repo} and set HF_TOKEN to a token of "
            "that account"
        ) from exc
    except RevisionNotFoundError as exc:
        raise RecipeError(f"{repo} has no revision '{revision}'") from exc
    except RepositoryNotFoundError as exc:
        raise RecipeError(f"the hub has no repository {repo}, or a private one; then set HF_TOKEN") from exc
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, *_UNREACHABLE) as exc:
        raise HostError(
            f"the Hugging Face hub cannot be reached and its cache does not hold {repo} at '{revision}'; go online (a "
            "gated model also needs HF_TOKEN), or download it elsewhere and use a source of type 'folder'"
        ) from exc
    except HfHubHTTPError as exc:
        raise HostError(f"the hub refuses {repo}: {str(exc).splitlines()[0]}") from exc


def _sizes(repo: str, revision: str) -> int:
    """Bytes of what will be downloaded; 0 when offline."""
    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=10)
    except (OfflineModeIsEnabled, *_UNREACHABLE):
        return 0
    names = (file for file in info.siblings or [] if "/" not in file.rfilename)
    wanted = (file for file in names if not file.rfilename.startswith("consolidated"))
    return sum(file.size or 0 for file in wanted if Path(file.rfilename).suffix in {".json", ".safetensors"})


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file())


def _watch(blobs: Path, total: int, done: threading.Event) -> None:
    while total and not done.wait(REPORT_INTERVAL_S):
        report_steps(min(_bytes_in(blobs), total) // MB, total // MB)


if __name__ == "__main__":
    serve_actions(download)
