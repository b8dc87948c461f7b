"""Convert models and adapters to GGUF by llama.cpp's own scripts, in a process of their own."""

import ast
import json
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blossomtune.data.sources import archives, pypi
from blossomtune.errors import UserError, find_closest_match
from blossomtune.export import run_converter

_KEPT = ("LICENSE", "conversion/", "convert_hf_to_gguf.py", "convert_lora_to_gguf.py")
_KEPT_PACKAGES = ("gguf-py/gguf/",)
"""Files of llama.cpp that conversion needs. The gguf package beside it is newer than the pinned."""

_ARCHITECTURES = "TEXT_MODEL_MAP"
"""Dictionary of conversion/__init__.py whose keys are the architectures that it converts."""

_logger = logging.getLogger(__name__)


def fetch_converter(source: Mapping[str, Any], folder: Path) -> None:
    """Download llama.cpp's converters and write them to a folder.

    Args:
        source: A source of kind ``pypi`` whose ``files`` are below ``vendor/llama.cpp``.
        folder: An empty folder.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        archive = pypi.download_archive(source, Path(scratch))
        for name, content in archives.iter_matching_files(archive, source["files"], Path(scratch)):
            path = name.partition("/vendor/llama.cpp/")[2]
            if path.startswith((*_KEPT, *_KEPT_PACKAGES)):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                with (folder / path).open("wb") as file:
                    shutil.copyfileobj(content, file)


def require_architecture(converter: Path, model_dir: Path) -> None:
    """Raise UserError if the converter does not know a model's architecture.

    Args:
        converter: Folder of the converter.
        model_dir: Hugging Face directory of the model.

    Raises:
        UserError: If the architecture is unknown.
    """
    config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
    (name,) = config.get("architectures") or ["unknown"]
    known = list_architectures(converter)
    if name not in known:
        near = find_closest_match(name, sorted(known))
        raise UserError(
            f"export.gguf: llama.cpp's converter does not know the architecture {name}"
            + (f"; the most similar one that it knows is {near}" if near else ""),
            "leave `gguf` and `adapter_gguf` out; vLLM and `transformers serve` load merged/",
        )


def list_architectures(converter: Path) -> set[str]:
    """Return the architectures that the converter knows; its code is read, not run."""
    tree = ast.parse((converter / "conversion/__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if (
            isinstance(node, ast.AnnAssign)
            and node.value is not None
            and ast.unparse(node.target) == _ARCHITECTURES
        ):
            return set(ast.literal_eval(node.value))
    raise RuntimeError(f"{converter}: conversion/__init__.py has no {_ARCHITECTURES}")


def convert_model(
    converter: Path, model_dir: Path, gguf_type: str, name: str, output: Path
) -> None:
    """Write a model as a GGUF file. The same model gives the same bytes.

    Args:
        converter: Folder of the converter.
        model_dir: Hugging Face directory of the model.
        gguf_type: Type of the weights, such as ``f16``.
        name: The model's name in the file.
        output: File to write.
    """
    options = ["--outtype", gguf_type, "--outfile", str(output), "--model-name", name]
    _run(converter, "convert_hf_to_gguf.py", model_dir, *options)


def convert_adapter(converter: Path, adapter_dir: Path, base_dir: Path, output: Path) -> None:
    """Write an adapter as a GGUF file in float32.

    Args:
        converter: Folder of the converter.
        adapter_dir: PEFT directory of the adapter.
        base_dir: Hugging Face directory of its base model.
        output: File to write.
    """
    options = ["--base", str(base_dir), "--outtype", "f32", "--outfile", str(output)]
    _run(converter, "convert_lora_to_gguf.py", adapter_dir, *options)


def _run(converter: Path, script: str, *arguments: str | Path) -> None:
    """Run a script of the converter with this Python."""
    command = [sys.executable, run_converter.__file__, converter / script, *arguments]
    done = subprocess.run(  # noqa: S603 - the script's checksum is pinned
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    _logger.debug("%s", done.stdout)
    if done.returncode:
        raise UserError(
            f"llama.cpp's {script} cannot convert {arguments[0]}:\n{done.stdout[-3000:]}"
        )
