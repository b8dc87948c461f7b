"""Reader of folders that `save_to_disk` of the library `datasets` wrote, without that library.

A data set consists of Arrow files and state.json, which lists them in order. A data set with splits
has one such folder per split, and dataset_dict.json lists the splits.
"""

from pathlib import Path

from blossomtune.errors import UserError, find_closest_match
from blossomtune.files import read_json

_SPLITS_FILE, _STATE_FILE, _INFO_FILE = "dataset_dict.json", "state.json", "dataset_info.json"


def is_saved_dataset(folder: Path) -> bool:
    """Return whether `save_to_disk` wrote this folder."""
    has_state = (folder / _STATE_FILE).is_file() and (folder / _INFO_FILE).is_file()
    return has_state or (folder / _SPLITS_FILE).is_file()


def list_arrow_files(folder: Path, split: str | None) -> list[Path]:
    """List the Arrow files of a data set.

    Args:
        folder: a folder that `save_to_disk` wrote.
        split: the split to read; None if there is only one.

    Returns:
        The files, in the data set's order.

    Raises:
        UserError: if the split does not exist, or the folder is incomplete.
    """
    try:
        if (folder / _SPLITS_FILE).is_file():
            splits = read_json(folder / _SPLITS_FILE)["splits"]
            folder, split = folder / _select_split(folder, split, splits), None
        state = read_json(folder / _STATE_FILE)
        names = [entry["filename"] for entry in state["_data_files"]]
        own_split = state["_split"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"source.path: {str(folder)!r} is not whole ({type(error).__name__}: {error})",
            "write it again with save_to_disk",
        ) from None
    if split not in (None, own_split):
        raise UserError(
            f"source.split: {str(folder)!r} has no splits; it is {own_split or 'unnamed'}"
        )
    paths = [folder / Path(name).name for name in names]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise UserError(f"source.path: {str(folder)!r} lacks {', '.join(missing)}")
    return paths


def _select_split(folder: Path, split: str | None, available_splits: list[str]) -> str:
    if split is None and len(available_splits) == 1:
        return available_splits[0]
    if split in available_splits:
        return split
    match = find_closest_match(split, available_splits) if split else None
    raise UserError(
        f"source.split: {str(folder)!r} has "
        + (f"no split {split!r}" if split else "more than one split")
        + (f"; did you mean {match!r}?" if match else "")
        + f"; splits: {', '.join(available_splits)}"
    )
