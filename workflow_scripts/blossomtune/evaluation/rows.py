"""The held-out rows, and whether the configuration's questions can be asked of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from blossomtune.errors import UserError, find_closest_match
from blossomtune.files import read_json
from blossomtune.modeling.encoding import find_completion_start
from blossomtune.modeling.server_eval_rows import select_server_eval_rows


@dataclass(frozen=True)
class EvaluationRow:
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
    input_ids: tuple[int, ...]
    completion_start: int
    group: str | None = None


@dataclass(frozen=True)
class EvaluationSet:
    """All rows that models are scored on.

    Attributes:
        rows: first the common test rows, then what clients held out of their own.
        common: how many are common.
        left_out: how many test rows are not among them, since they decided something in training.
        names: of all clients, in their order.
        clients: which rows, by position, are a client's, for those that have any.
        kind: whether these are their ``own`` or some of the ``common`` ones; None without clients.
    """

    rows: Sequence[EvaluationRow]
    num_common_rows: int
    num_excluded_rows: int = 0
    client_names: Sequence[str] = ()
    rows_by_client: Mapping[str, Sequence[int]] = field(default_factory=dict)
    client_row_source: str | None = None


def load_evaluation_set(
    preprocessed: Path, partition: Path, dataset: Path, settings: Mapping[str, Any]
) -> EvaluationSet:
    """Reads the rows; it is here, before any model is loaded, that a wrong question shows.

    Args:
        preprocessed: directory with test.arrow and, where clients held rows out of their own,
            client_<i>.test.arrow.
        partition: directory with the manifest that names the clients.
        dataset: directory with test.parquet, which has all columns.
        settings: ``choices``, the possible completions, empty where any text may be the answer;
            ``by``, a column of the data set, or None; ``seed``; ``watched``, how many test rows
            the server looked at to decide something.

    Returns:
        The rows, the common ones in the order of test.arrow.

    Raises:
        UserError: where there is no row, ``by`` is not a column, or a completion is none of the
            choices.
    """
    test, by = _read_arrow(preprocessed / "test.arrow"), settings["by"]
    if not test:
        raise UserError(
            "there is no held-out row to evaluate on",
            "raise the data set's test.size, or preprocessing's max_length if all were too long",
        )
    gone = set(select_server_eval_rows(settings["seed"], len(test), settings["watched"]))
    common = [row for i, row in enumerate(test) if i not in gone]
    if not common:
        raise UserError(
            f"all {len(test)} test rows decided something while training (early_stopping, or "
            "result: best), so there is none left to evaluate on",
            "lower federation.evaluate_rows, raise the data set's test.size, or let the clients "
            "decide on rows of their own (federation.fraction_evaluate)",
        )
    told = read_json(partition / "manifest.json")
    names = [client["name"] for client in told["clients"]]
    files = [preprocessed / f"client_{i}.test.arrow" for i in range(len(names))]
    own = {name: _read_arrow(f) for name, f in zip(names, files, strict=True) if f.exists()}
    rows, clients = list(common), {}
    for name, mine in own.items():
        clients[name] = range(len(rows), len(rows) + len(mine))
        rows += mine
    _check_choices([row["completion"] for row in rows], settings["choices"])

    file = dataset / "test.parquet"
    column = told.get("column")
    if not own and told.get("partitioner") == "natural_id" and column in pq.read_schema(file).names:
        values = _read_column(file, column)
        for position, row in enumerate(common):
            clients.setdefault(values[row["row"]], []).append(position)
    clients = {name: clients[name] for name in names if clients.get(name)}
    groups = _read_column(file, by) if by is not None else None
    return EvaluationSet(
        rows=[
            EvaluationRow(
                prompt=row["prompt"],
                completion=row["completion"],
                input_ids=tuple(row["input_ids"]),
                completion_start=find_completion_start(row["labels"]),
                group=groups[row["row"]] if groups and position < len(common) else None,
            )
            for position, row in enumerate(rows)
        ],
        num_common_rows=len(common),
        num_excluded_rows=len(gone),
        client_names=names,
        rows_by_client=clients,
        client_row_source=("own" if own else "common") if clients else None,
    )


def _read_arrow(file: Path) -> list[dict[str, Any]]:
    with pa.memory_map(str(file)) as mapped:
        return pa.ipc.open_stream(mapped).read_all().to_pylist()


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


def _read_column(file: Path, name: str) -> list[str]:
    known = pq.read_schema(file).names
    if name not in known:
        near = find_closest_match(name, known)
        raise UserError(
            f"evaluation.by: {name!r} is not a column of the data set; known: {', '.join(known)}",
            f"did you mean {near!r}?" if near else None,
        )
    return [str(value) for value in pq.read_table(file, columns=[name])[name].to_pylist()]
