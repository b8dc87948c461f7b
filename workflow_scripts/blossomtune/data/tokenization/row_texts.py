"""Comparison of the texts of rows, before they are tokenized."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from blossomtune.data.leaks.compare_rows import RowComparison
from blossomtune.data.leaks.count_leaks import find_leaked_rows
from blossomtune.data.leaks.text_table import TextTable
from blossomtune.data.parallel import map_ordered
from blossomtune.data.preparation.deduplicate import compile_separator_pattern, normalize_text
from blossomtune.data.tokenization.conversation import list_message_texts
from blossomtune.data.tokenization.messages import MessageBuilder
from blossomtune.data.tokenization.row_groups import RowGroup
from blossomtune.errors import UserError
from blossomtune.work_limits import limit_work
from blossomtune.worker_notes import note_file, note_row


class RowTextReader:
    """Reader of the texts by which the rows of one format are compared.

    Args:
        message_builder: converter of rows to messages.
    """

    def __init__(self, message_builder: MessageBuilder) -> None:
        self._message_builder = message_builder
        compile_separator_pattern()  # once, for all workers

    def __call__(self, row_group: RowGroup) -> list[str | None]:
        """Return the normalized text of each row; None for rows that cannot be rendered."""
        texts = list[str | None]()
        note_file(row_group.source.name)
        for first_row, rows in row_group.read_rows(self._message_builder):
            with limit_work():
                for number, row in enumerate(rows, first_row):
                    note_row(number)
                    texts.append(self._read_text(row))
        return texts

    def _read_text(self, row: Mapping[str, Any]) -> str | None:
        try:
            conversation = self._message_builder.build_conversation(row)
        except UserError:
            return None
        if not isinstance(conversation, str):
            messages = [m for m in conversation.messages if m["role"] != "system"]
            conversation = "\n".join(t for m in messages for _, t in list_message_texts(m))
        text: str = normalize_text(conversation)
        return text


def compare_rows(
    message_builder: MessageBuilder,
    files: Sequence[Sequence[RowGroup]],
    folder: Path,
    cores: int = 1,
) -> RowComparison:
    """Compare the rows of files by their texts, without system turns and definitions of tools.

    Args:
        message_builder: converter of rows to messages.
        files: the row groups per file.
        folder: folder for temporary files.
        cores: number of processes; it does not affect the result.

    Returns:
        The comparison; rows that cannot be rendered do not count.
    """
    tasks = list(chain.from_iterable(files))
    read_texts = RowTextReader(message_builder)
    cores = min(cores, len(tasks))
    with TemporaryDirectory(dir=folder) as scratch:
        table = TextTable(Path(scratch) / "texts.arrow")
        with closing(map_ordered(read_texts, tasks, cores, isolate=True)) as results:
            indices = [
                np.concatenate([table.add(texts) for texts in islice(results, len(groups))])
                for groups in files
            ]
        return RowComparison(table.read(), indices, Path(scratch))


def describe_leaked_rows(
    comparison: RowComparison, held_out: Sequence[Path], training: Sequence[Path]
) -> dict[Path, dict[int, str]]:
    """Describe the training rows that equal or nearly equal a held-out row.

    Args:
        comparison: the rows of the held-out files, then of the training files.
        held_out: the held-out files.
        training: the training files.

    Returns:
        Per training file and row, the first held-out row that it equals or nearly equals.
    """
    leaks = {}
    for number, file in enumerate(training, len(held_out)):
        leaked_rows = find_leaked_rows(comparison, range(len(held_out)), number)
        leaks[file] = {
            row: f"the same or nearly the same as row {other_row} of {held_out[other].name}, "
            "which is held out"
            for row, (other, other_row) in leaked_rows.items()
        }
    return leaks
