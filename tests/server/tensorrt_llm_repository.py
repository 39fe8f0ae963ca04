"""An engine directory of kind `tensorrt_llm` with SmolLM2's tokenizer, and a repository whose engine model finds the
double of TensorRT-LLM: the models' interpreter ignores PYTHONPATH, so a line of its `model.py` says where it is.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.unit.engines.tensorrt_llm_engines import DOUBLES, engine_config
from trident.manifest import FILE_NAME, EngineKind, read_manifest, sha256_of, write_manifest
from trident.server.repository import default_repository

_MARK = "from trident.triton_adapter.engine import EngineModel"
LIMITS = {
    "max_input_tokens": 1000,
    "max_output_tokens": 4000,
    "max_seq_tokens": 5000,
    "max_num_seqs": 4,
    "max_num_batched_tokens": 256,
    "kv_cache_tokens": 32768,
}


def write_engine(built: Path, directory: Path, kind: EngineKind) -> Path:
    """An engine for the double, with the tokenizer of the engine in `built`."""
    directory.mkdir(parents=True)
    shutil.copytree(built / "tokenizer", directory / "tokenizer")
    source = read_manifest(built)
    limits = source.limits.model_copy(update=LIMITS)
    manifest = source.model_copy(update={"kind": kind, "limits": limits, "options": {}})
    (directory / "config.json").write_text(json.dumps(engine_config(manifest)))
    (directory / "rank0.engine").touch()
    files = {
        str(path.relative_to(directory)): sha256_of(path)
        for path in directory.rglob("*")
        if path.is_file() and path.name != FILE_NAME
    }
    write_manifest(directory, manifest.model_copy(update={"files": files}))
    return directory


def write_repository(directory: Path) -> Path:
    """The committed repository, but for that line."""
    shutil.copytree(default_repository(), directory)
    path = directory / "tensorrt_llm" / "1" / "model.py"
    text = path.read_text()
    assert text.count(_MARK) == 1
    path.write_text(text.replace(_MARK, f"import sys\nsys.path.insert(0, {str(DOUBLES)!r})\n{_MARK}"))
    return directory
