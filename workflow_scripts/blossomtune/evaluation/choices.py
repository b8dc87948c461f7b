"""Read the choices of the held-out rows, and predict the likeliest one."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from blossomtune.errors import UserError
from blossomtune.evaluation.parquet_columns import read_column

COLUMN_HINT = (
    "the column holds a list of texts, a mapping of labels to texts, or "
    '{"text": […], "label": […]}, or the JSON text of one'
)


class RowChoices(NamedTuple):
    """The possible completions of a row.

    Attributes:
        texts: Completions whose likelihoods are compared; none for free text.
        gold: Index of the right one.
    """

    texts: Sequence[str] = ()
    gold: int = 0


def load_choices(
    completions: Sequence[str],
    origins: Sequence[tuple[Path, int]],
    choices: Sequence[str] | Mapping[str, str],
) -> list[RowChoices]:
    """Return the choices of each row.

    Args:
        completions: The rows' completions.
        origins: Per row, its Parquet file and its index there.
        choices: The setting: choices of all rows, empty for free text; or ``column``, the column
            with a row's own options, and ``score``, what to compare: ``text`` or ``label``.

    Returns:
        One item per row.

    Raises:
        UserError: If options are not valid, or a completion is none of them.
    """
    if not isinstance(choices, Mapping):
        _check_completions(completions, choices)
        return [RowChoices(choices, choices.index(c) if choices else 0) for c in completions]
    columns = {
        file: read_column(file, choices["column"], "evaluation.choices.column")
        for file in dict.fromkeys(file for file, _ in origins)
    }
    rows = []
    for completion, (file, index) in zip(completions, origins, strict=True):
        try:
            rows.append(_select_choices(columns[file][index], completion, choices["score"]))
        except ValueError as error:
            raise UserError(
                f"evaluation.choices: row {index} of {file.name}: column "
                f"{choices['column']!r}: {error}",
                COLUMN_HINT,
            ) from None
    return rows


def _check_completions(completions: Sequence[str], choices: Sequence[str]) -> None:
    unknown = sorted(set(completions) - set(choices)) if choices else []
    if unknown:
        shown = ", ".join(repr(text[:60]) for text in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        rows = sum(text in set(unknown) for text in completions)
        raise UserError(
            f"evaluation.choices: the completions of {rows} of {len(completions)} held-out rows "
            f"are none of the choices: {shown}{more}; choices: {', '.join(map(repr, choices))}",
            "list every completion there is, to the letter, or leave choices empty",
        )


def _select_choices(value: Any, completion: str, score: str) -> RowChoices:
    """Return what is scored of a row's options, and the position of the completion."""
    texts, labels = parse_options(value)
    scored, other = (texts, labels) if score == "text" else (labels, texts)
    for names in (scored, other):
        if completion in names:
            return RowChoices(scored, names.index(completion))
    options = ", ".join(f"{a}: {b[:60]!r}" for a, b in zip(labels, texts, strict=True))
    raise ValueError(
        f"the completion {completion[:60]!r} is no text and no label of the options {options}"
    )


def parse_options(value: Any) -> tuple[list[str], list[str]]:
    """Return the texts and the labels of a row's options.

    Args:
        value: A list of texts, whose labels are A, B, C and so on; a mapping of labels to texts;
            ``{"text": […], "label": […]}``; or the JSON text of one.

    Returns:
        ``(texts, labels)``, two or more each.

    Raises:
        ValueError: If it is no such value.
    """
    if isinstance(value, str):
        value = json.loads(value)
    if isinstance(value, Mapping) and all(
        isinstance(value.get(k), list) for k in ("text", "label")
    ):
        texts, labels = value["text"], value["label"]
    elif isinstance(value, Mapping):
        # Arrow adds nulls where rows have different labels
        known = {label: text for label, text in value.items() if text is not None}
        texts, labels = list(known.values()), list(known)
    elif isinstance(value, list) and len(value) <= len(ascii_uppercase):
        texts, labels = value, list(ascii_uppercase[: len(value)])
    else:
        raise ValueError(f"{str(value)[:60]!r} has no options")
    if len(texts) != len(labels):
        raise ValueError(f"{len(texts)} texts and {len(labels)} labels")
    if len(texts) < 2:
        raise ValueError(f"{len(texts)} options; two or more are needed")
    for name in (*texts, *labels):
        if not isinstance(name, str) or not name:
            raise ValueError(f"option {name!r} is no text, or is empty")
    if len(set(labels)) < len(labels):
        raise ValueError(f"a label is listed twice: {', '.join(labels)}")
    return texts, labels


def predict_choices(
    nll: NDArray[np.float64], choices: Sequence[Sequence[str]], *, by_length: bool = False
) -> NDArray[np.int64]:
    """Return the likeliest choice of each row, as lm-evaluation-harness does.

    Args:
        nll: (R, C) negative log-likelihoods; a row's first values are those of its choices.
        choices: Texts of each row's choices.
        by_length: Divide by the number of characters, for ``acc_norm``; else ``acc``.

    Returns:
        (R,) indices.
    """
    likeliest = []
    for row, texts in zip(nll, choices, strict=True):
        values = row[: len(texts)]
        likeliest.append(np.argmin(values / [len(text) for text in texts] if by_length else values))
    return np.array(likeliest, dtype=np.int64)
