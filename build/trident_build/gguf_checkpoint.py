"""A GGUF file as a Hugging Face checkpoint: weights in safetensors, config.json, the tokenizer of our own conversion.

Run as a child process (see `child`). transformers dequantizes the tensors; what it makes of the tokenizer is wrong (see
`tokenizer`), and so are the ids that its config takes from there.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from trident_build.child import serve_actions
from trident_build.gguf_file import read_gguf
from trident_build.tokenizer import convert_tokenizer, eos_ids, pad_id, write_tokenizer

DTYPE = torch.float16  # 11 bits of a 4-bit weight times a float16 scale: a relative error of 2**-12 at most
SHARD_BYTES = "5GB"


def write_checkpoint(gguf: str, output: str) -> None:
    """Write the checkpoint of the file `gguf` into the folder `output`."""
    file, folder = Path(gguf), Path(output)
    metadata = read_gguf(file)
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).to(DTYPE)
    ids = {"bos_token_id": metadata.bos_id, "eos_token_id": list(eos_ids(metadata)), "pad_token_id": pad_id(metadata)}
    model.config.update({**ids, "eos_token_id": metadata.eos_id, "max_position_embeddings": metadata.context_tokens})
    model.generation_config = GenerationConfig(**ids)
    model.save_pretrained(folder, max_shard_size=SHARD_BYTES)
    write_tokenizer(metadata, convert_tokenizer(metadata), folder)
    for path in (folder / "tokenizer").iterdir():  # an engine has them in a folder of their own, a checkpoint has not
        path.rename(folder / path.name)
    (folder / "tokenizer").rmdir()


if __name__ == "__main__":
    serve_actions(write_checkpoint)
