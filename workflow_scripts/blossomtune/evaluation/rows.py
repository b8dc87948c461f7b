"""The held-out rows, and whether the configuration's questions can be asked of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from blossomtune.encoding import answer_start
from blossomtune.errors import UserError, nearest


@dataclass(frozen=True)
class Row:
    """One held-out example.

    Attributes:
        prompt: the conversation up to the model's last turn, as the chat template writes it; empty
            for plain text.
        completion: what the model should answer.
        ids: token ids of both, as the model would be trained on them.
        start: how many of them are the prompt's.
        group: the row's value in the column that metrics are broken down by, if there is one.
    """

    prompt: str
    completion: str
    ids: tuple[int, ...]
    start: int
    group: str | None = None


def held_out(
    preprocessed: Path, dataset: Path, choices: Sequence[str], by: str | None
) -> list[Row]:
    """Reads the test rows; it is here, before any model is loaded, that a wrong question shows.

    Args:
        preprocessed: directory with ``test.arrow``.
        dataset: directory with ``test.parquet``, which has all columns.
        choices: the possible completions; empty where any text may be the answer.
        by: a column of the data set, or None.

    Returns:
        The rows, in the order of ``test.arrow``.

    Raises:
        UserError: where there is no row, ``by`` is not a column, or a completion is none of the
            choices.
    """
    with pa.memory_map(str(preprocessed / "test.arrow")) as file:
        rows = pa.ipc.open_stream(file).read_all().to_pylist()
    if not rows:
        raise UserError(
            "there is no held-out row to evaluate on",
            "raise the data set's test.size, or preprocessing's max_length if all were too long",
        )
    _check_choices([row["completion"] for row in rows], choices)
    groups = _column(dataset / "test.parquet", by) if by is not None else None
    return [
        Row(
            prompt=row["prompt"],
            completion=row["completion"],
            ids=tuple(row["input_ids"]),
            start=answer_start(row["labels"]),
            group=None if groups is None else groups[row["row"]],
        )
        for row in rows
    ]


def _check_choices(completions: Sequence[str], choices: Sequence[str]) -> None:
    strange = sorted(set(completions) - set(choices)) if choices else []
    if strange:
        shown = ", ".join(repr(text[:60]) for text in strange[:5])
        more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
        rows = sum(text in set(strange) for text in completions)
        raise UserError(
            f"evaluation.choices: the completions of {rows} of {len(completions)} held-out rows "
            f"are none of the choices: {shown}{more}; choices: {', '.join(map(repr, choices))}",
            "list every completion there is, to the letter, or leave choices empty",
        )


def _column(file: Path, name: str) -> list[str]:
    known = pq.read_schema(file).names
    if name not in known:
        near = nearest(name, known)
        raise UserError(
            f"evaluation.by: {name!r} is not a column of the data set; known: {', '.join(known)}",
            f"did you mean {near!r}?" if near else None,
        )
    return [str(value) for value in pq.read_table(file, columns=[name])[name].to_pylist()]
