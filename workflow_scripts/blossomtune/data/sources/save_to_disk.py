"""Folders that `save_to_disk` of the library `datasets` wrote, read without that library.

A data set is arrow files, and state.json with their names in order; with splits, it is a folder a
split, and dataset_dict.json with their names.
"""

from pathlib import Path

from blossomtune.errors import UserError, find_closest_match
from blossomtune.files import read_json

_SPLITS_FILE, _STATE_FILE, _INFO_FILE = "dataset_dict.json", "state.json", "dataset_info.json"


def is_saved_dataset(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    of_one = (folder / _STATE_FILE).is_file() and (folder / _INFO_FILE).is_file()
    return of_one or (folder / _SPLITS_FILE).is_file()


def list_arrow_files(folder: Path, split: str | None) -> list[Path]:
    """The arrow files of a data set, in order.

    Args:
        folder: what `save_to_disk` wrote.
        split: which of its splits; None where there is but one.

    Raises:
        UserError: where the split is not there, or the folder is not whole.
    """
    try:
        if (folder / _SPLITS_FILE).is_file():
            folder = folder / _select_split(
                folder, split, read_json(folder / _SPLITS_FILE)["splits"]
            )
            split = None
        state = read_json(folder / _STATE_FILE)
        names = [entry["filename"] for entry in state["_data_files"]]
        own = state["_split"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"source.path: {str(folder)!r} is not whole ({type(error).__name__}: {error})",
            "write it again with save_to_disk",
        ) from None
    if split not in (None, own):
        raise UserError(f"source.split: {str(folder)!r} has no splits; it is {own or 'unnamed'}")
    paths = [folder / Path(name).name for name in names]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise UserError(f"source.path: {str(folder)!r} lacks {', '.join(missing)}")
    return paths


def _select_split(folder: Path, split: str | None, available_splits: list[str]) -> str:
    if split is None and len(available_splits) == 1:
        return available_splits[0]
    if split in available_splits:
        return split
    near = find_closest_match(split, available_splits) if split else None
    raise UserError(
        f"source.split: {str(folder)!r} has "
        + (f"no split {split!r}" if split else "more than one split")
        + (f"; did you mean {near!r}?" if near else "")
        + f"; splits: {', '.join(available_splits)}"
    )
