"""Find out what a run downloads, before it does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blossomtune.artifacts.plan import Download


def list_downloads(config: Mapping[str, Any], results: Path) -> list[Download]:
    """Return the models and data sets that are not fetched yet, with their sizes.

    Args:
        config: Result of ``blossomtune.config.stage_inputs.plan_downloads``.
        results: Folder of the results.

    Returns:
        One entry per block.
    """
    downloads = []
    for section, blocks in config.items():
        for name, sources in blocks.items():
            if not (results / section / name).is_dir():
                sizes = [get_download_size(source) for source in sources]
                size = None if None in sizes else sum(size or 0 for size in sizes)
                downloads.append(Download(section=section, block=name, size=size))
    return downloads


def get_download_size(source: Mapping[str, Any]) -> int | None:
    """Return the bytes that a source is downloaded with, None if they are unknown."""
    kind = source["kind"]
    if kind == "pypi":
        from blossomtune.data.sources import pypi

        return pypi.get_archive_size(source)
    if kind == "url":
        from blossomtune.data.sources import url

        return url.get_file_size(source)
    if kind == "hub":
        from blossomtune.data.sources import huggingface

        is_streamed = bool(source.get("rows"))  # as many rows as are asked for
        return None if is_streamed else huggingface.get_repository_size(source)
    return 0  # of this machine, or drawn from data sets that have entries of their own


def format_downloads(downloads: list[Download]) -> str:
    """Return the downloads as text, one line each."""
    if not downloads:
        return "nothing is left to download"
    lines = []
    for download in downloads:
        size = "unknown" if download.size is None else f"{download.size / 1e6:.1f} MB"
        lines.append(f"download of {download.section} {download.block}: {size}")
    return "\n".join(lines)
