"""<output>.checksums.json: size and SHA-256 of the files that a stage wrote.

It lies beside the output, so that Snakemake compares its content instead of the output's time.
"""

import os
from pathlib import Path

from blossomtune.artifacts.base import Artifact, Part
from blossomtune.artifacts.files import missing_file_error, read_artifact, write_artifact
from blossomtune.errors import UserError
from blossomtune.files import compute_file_sha256

CHECKSUMS_SUFFIX = ".checksums.json"

_BULK_SUFFIXES = (".safetensors", ".parquet", ".arrow")
"""Suffixes of weights, rows and token ids."""


class FileChecksum(Part):
    """Checksum of one file.

    Attributes:
        size: bytes of the file.
        sha256: digest of its content.
    """

    size: int
    sha256: str


class Checksums(Artifact):
    """Files of a stage's output.

    Attributes:
        stage: name of the stage.
        files: checksums by path, relative to the output if it is a folder, else to its folder.
    """

    stage: str
    files: dict[str, FileChecksum]


def get_checksums_path(output: Path) -> Path:
    """Return the path of the checksums of a stage's output."""
    return output.with_name(output.name + CHECKSUMS_SUFFIX)


def write_checksums(output: Path, stage: str, *other_files: Path) -> None:
    """Write the checksums of a stage's output beside it.

    Equal files give equal bytes: the name of the output is not included.

    Args:
        output: a folder or file that is complete.
        stage: name of the stage.
        *other_files: files outside of ``output`` that the stage wrote with it.
    """
    inside = output.rglob("*") if output.is_dir() else [output]
    files = [path for path in (*inside, *other_files) if path.is_file()]
    base = _get_base(output)
    checksums = {
        Path(os.path.relpath(file, base)).as_posix(): FileChecksum(
            size=file.stat().st_size, sha256=compute_file_sha256(file)
        )
        for file in files
    }
    write_artifact(get_checksums_path(output), Checksums(stage=stage, files=checksums))


def verify_outputs(*outputs: Path, metadata_only: bool = False) -> None:
    """Compare the files of earlier stages with their checksums.

    Args:
        *outputs: folders or files that stages wrote.
        metadata_only: compare only the sizes of weights, rows and token ids.

    Raises:
        UserError: if a file is missing or has changed since its stage wrote it.
    """
    for output in outputs:
        if not output.exists():
            raise missing_file_error(output)
        checksums = read_artifact(get_checksums_path(output), Checksums)
        for name, expected in checksums.files.items():
            file = Path(os.path.normpath(_get_base(output) / name))
            is_hashed = not (metadata_only and file.suffix in _BULK_SUFFIXES)
            if reason := _find_difference(file, expected, is_hashed):
                raise UserError(
                    f"{file}: {reason} since stage {checksums.stage} wrote it",
                    _describe_rebuild(output, name),
                )


def _get_base(output: Path) -> Path:
    return output if output.is_dir() else output.parent


def _find_difference(file: Path, expected: FileChecksum, is_hashed: bool) -> str | None:
    """Return how a file differs from its checksum, or None."""
    if not file.is_file():
        return "this file has been removed"
    if (size := file.stat().st_size) != expected.size:
        return f"the size has changed from {expected.size} to {size} bytes"
    if is_hashed and compute_file_sha256(file) != expected.sha256:
        return "the content has changed"
    return None


def _describe_rebuild(output: Path, name: str) -> str:
    """Return how to build an output again; results of Snakemake's cache are links into it."""
    command = f"`snakemake --cores all --forcerun {output}` builds it again"
    first = output / Path(name).parts[0]
    if output.is_symlink():
        return f"remove {output.resolve()} from the cache; {command}"
    if first.is_symlink():
        return f"remove {first.resolve().parent} from the cache; {command}"
    return command
