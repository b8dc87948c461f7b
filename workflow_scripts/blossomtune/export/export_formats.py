"""Write the result in the formats of other programs."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.tokenized_manifest import TokenizedManifest
from blossomtune.data.parallel import run_in_worker
from blossomtune.export.adapter_gguf import fold_scaling
from blossomtune.export.converter import convert_adapter, convert_model, require_architecture
from blossomtune.export.llama_cpp import LlamaCpp
from blossomtune.export.modelfile import render_modelfile
from blossomtune.export.token_check import adds_bos, check_tokens
from blossomtune.modeling.chat_template import ChatTemplate
from blossomtune.modeling.tokenizer import load_tokenizer


def export_formats(
    config: Mapping[str, Any],
    converter: Path,
    merged: Path,
    adapter: Path,
    preprocessed: Path,
    output: Path,
) -> None:
    """Write each format that is asked for.

    Args:
        config: The stage's configuration: block ``export``, and the experiment's name.
        converter: Folder of llama.cpp's converter.
        merged: Hugging Face directory of the merged model.
        adapter: PEFT directory of the adapter.
        preprocessed: Directory of tokenized rows, whose held-out prompts are compared.
        output: Empty directory.
    """
    name = config["experiment"]
    require_architecture(converter, merged)
    tokenizer = load_tokenizer(merged)
    files = {gguf_type: output / f"{name}-{gguf_type}.gguf" for gguf_type in config["gguf"]}
    prompts = _load_prompts(preprocessed)
    for gguf_type, file in files.items():
        convert_model(converter, merged, gguf_type, name, file)
        llama = LlamaCpp(file)
        check_tokens(llama, tokenizer, prompts, file.name)
    if config["ollama"]:
        tokenized = read_artifact(preprocessed / "manifest.json", TokenizedManifest)
        text = run_in_worker(  # for its chat template
            render_modelfile,
            next(iter(files.values())).name,
            ChatTemplate(tokenizer, tokenized.chat_template.arguments),
            tokenized,
            adds_bos(llama),
        )
        (output / "Modelfile").write_text(text, encoding="utf-8")
    if config["adapter_gguf"]:
        with tempfile.TemporaryDirectory(dir=output) as scratch:
            named = Path(scratch) / name  # the converter writes the folder's name to the file
            named.mkdir()
            fold_scaling(adapter, named)
            convert_adapter(converter, named, merged, output / f"{name}-adapter-f32.gguf")


def _load_prompts(preprocessed: Path) -> list[str]:
    """Return the rendered held-out prompts; the whole text of rows without one."""
    with pa.memory_map(str(preprocessed / "test.arrow")) as file:
        table = pa.ipc.open_stream(file).read_all().select(["prompt", "completion"])
    return [row["prompt"] or row["completion"] for row in table.to_pylist()]
