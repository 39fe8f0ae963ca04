"""A named fake of NVIDIA's trtllm-build: takes its arguments, and writes an engine directory shaped like a real one.

It compiles nothing: `rank0.engine` holds a line of text. What it knows of the real one: the names in config.json, that
`paged` is written PAGED, `enable` true and `auto` a dtype, and that the parallelism is the checkpoint's.
"""

import json
import os
import sys
from pathlib import Path

FAKE = """#!{python}
import runpy, sys
sys.argv[0] = {module!r}
runpy.run_path({module!r}, run_name="__main__")
"""


def install(folder: Path, version: str = "1.2.1") -> None:
    """Put an executable `trtllm-build`, and the metadata of a tensorrt_llm of `version`, into `folder`."""
    executable = folder / "trtllm-build"
    executable.write_text(FAKE.format(python=sys.executable, module=__file__), encoding="utf-8")
    executable.chmod(0o755)
    metadata = folder / f"tensorrt_llm-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: tensorrt_llm\nVersion: {version}\n", encoding="utf-8")


def _arguments() -> dict[str, object]:
    flags: dict[str, object] = {}
    words = sys.argv[1:]
    while words:
        name = words.pop(0).removeprefix("--")
        values = []
        while words and not words[0].startswith("--"):
            values.append(words.pop(0))
        flags[name] = values if name == "lora_target_modules" else (values[0] if values else True)
    return flags


def _recorded(value: object) -> object:
    known = {"enable": True, "disable": False, "auto": "float16", "paged": "PAGED"}
    if isinstance(value, str):
        return int(value) if value.isdigit() else known.get(value, value)
    return value


def main() -> None:
    """Write the engine, or do what FAKE_TRTLLM asks for: "fail", "kill", "other"."""
    mode = os.environ.get("FAKE_TRTLLM", "")
    flags = _arguments()
    checkpoint, output = Path(str(flags.pop("checkpoint_dir"))), Path(str(flags.pop("output_dir")))
    print("[TensorRT-LLM] TensorRT-LLM version: fake")  # noqa: T201
    if mode == "fail":
        print("[TRT] [E] Error Code 9: API Usage Error (too little workspace)\nTraceback ends")  # noqa: T201
        sys.exit(3)
    if mode == "kill":
        os.kill(os.getpid(), 9)
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    build = {{"strip_plan": "use_strip_plan"}.get(name, name): _recorded(value) for name, value in flags.items()}
    if mode == "other":
        build["max_seq_len"] = 99
    plugins = {name: build.pop(name) for name in list(build) if "plugin" in name or "fmha" in name}
    lora = {name: build.pop(name) for name in list(build) if "lora" in name}
    build |= {"plugin_config": plugins, "lora_config": lora}
    output.mkdir(parents=True, exist_ok=True)
    engine = {"version": "1.2.1", "pretrained_config": config, "build_config": build}
    (output / "config.json").write_text(json.dumps(engine), encoding="utf-8")
    for rank in range(config["mapping"]["world_size"]):
        (output / f"rank{rank}.engine").write_text("no engine", encoding="utf-8")


if __name__ == "__main__":
    main()
