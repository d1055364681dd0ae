"""Safetensors files and model folders of a few bytes, written by hand."""

import json
import struct
from pathlib import Path

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "max_position_embeddings": 1024,
}
TOKENIZER = {"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"}}


def safetensors(shapes: dict[str, list[int]], *, dtype: str = "F32") -> bytes:
    """A file with these tensors, all zeros."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        size = 4 if dtype == "F32" else 2
        for length in shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(end)


def model_folder(folder: Path, config: dict | None = None, *, shards: int = 0) -> Path:
    """A folder that looks whole from outside, with weights in one file or in several."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config or LLAMA))
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    if not shards:
        (folder / "model.safetensors").write_bytes(safetensors({"a": [2, 3], "b": [5]}))
        return folder
    placed = {}
    for number in range(1, shards + 1):
        name = f"model-{number:05}-of-{shards:05}.safetensors"
        (folder / name).write_bytes(safetensors({f"layer.{number}": [4, 4]}))
        placed[f"layer.{number}"] = name
    index = {"metadata": {}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
