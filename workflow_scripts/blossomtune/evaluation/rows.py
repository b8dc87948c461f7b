"""Load the held-out rows and check the evaluation's settings against them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.partition_manifest import PartitionManifest
from blossomtune.artifacts.tokenized_manifest import ChatTemplateUse, TokenizedManifest
from blossomtune.errors import UserError
from blossomtune.evaluation.choices import RowChoices, load_choices
from blossomtune.evaluation.parquet_columns import read_column
from blossomtune.modeling.encoding import find_completion_start
from blossomtune.modeling.server_eval_rows import select_server_eval_rows


@dataclass(frozen=True)
class EvaluationRow:
    """One held-out example.

    Attributes:
        prompt: Rendered conversation up to the model's last turn; empty for plain text.
        completion: The right answer.
        input_ids: Token ids of both, as in training.
        completion_start: Number of the prompt's token ids.
        row: Index in the data set's test.parquet, or of the client's own test row.
        question: What the user asked; empty for plain text.
        tool_calls: Calls in the right answer as JSON; empty without any.
        choices: The possible completions.
        group: The row's value in the column ``evaluation.by``, if there is one.
        references: Other right answers.
    """

    prompt: str
    completion: str
    input_ids: tuple[int, ...]
    completion_start: int
    row: int = 0
    question: str = ""
    tool_calls: str = ""
    choices: RowChoices = field(default_factory=RowChoices)
    group: str | None = None
    references: Sequence[str] = ()


@dataclass(frozen=True)
class EvaluationSet:
    """All rows that models are scored on.

    Attributes:
        rows: The common test rows, then the test rows of single clients.
        num_common_rows: Number of common rows.
        num_excluded_rows: Number of test rows that are left out, since they influenced training.
        leaked_rows: Positions of the common rows that occur in training rows, too.
        client_names: Names of all clients, in order.
        rows_by_client: Positions of each client's rows, for clients with rows.
        client_row_source: Whether these are the clients' ``own`` rows or ``common`` ones; None
            without such rows.
        chat_template: Use of the chat template in training, None for its defaults.
    """

    rows: Sequence[EvaluationRow]
    num_common_rows: int
    num_excluded_rows: int = 0
    leaked_rows: Sequence[int] = ()
    client_names: Sequence[str] = ()
    rows_by_client: Mapping[str, Sequence[int]] = field(default_factory=dict)
    client_row_source: Literal["own", "common"] | None = None
    chat_template: ChatTemplateUse | None = None


def load_evaluation_set(
    preprocessed: Path, partition: Path, dataset: Path, settings: Mapping[str, Any]
) -> EvaluationSet:
    """Load the held-out rows.

    Args:
        preprocessed: Directory with test.arrow and, for clients with own test rows,
            client_<i>.test.arrow.
        partition: Directory with the partition's manifest.
        dataset: Directory with test.parquet, which has all columns.
        settings: The stage's settings: ``choices``, possible completions, empty for any text, or
            their column; ``by``, a column of the data set or None; ``seed``;
            ``server_eval_rows``, number of test rows whose loss influenced training.

    Returns:
        The rows; common ones in the order of test.arrow.

    Raises:
        UserError: If there are no rows, a column does not exist, or a completion is not a choice.
    """
    test, by = _read_arrow(preprocessed / "test.arrow"), settings["by"]
    if not test:
        raise UserError(
            "there is no held-out row to evaluate on",
            "raise the data set's test.size, or preprocessing's max_length if all were too long",
        )
    used = set(select_server_eval_rows(settings["seed"], len(test), settings["server_eval_rows"]))
    common = [row for i, row in enumerate(test) if i not in used]
    if not common:
        raise UserError(
            f"all {len(test)} test rows decided something while training (early_stopping, or "
            "result: best), so there is none left to evaluate on",
            "lower federation.evaluate_rows, raise the data set's test.size, or let the clients "
            "decide on rows of their own (federation.fraction_evaluate)",
        )
    manifest = read_artifact(partition / "manifest.json", PartitionManifest)
    tokenized = read_artifact(preprocessed / "manifest.json", TokenizedManifest)
    names, leaked = manifest.client_names, set(tokenized.leaks.test_rows)
    rows, positions = list(common), dict[str, list[int]]()
    file = dataset / "test.parquet"
    origins = [(file, row["row"]) for row in common]
    for client, name in enumerate(names):
        if (own_file := preprocessed / f"client_{client}.test.arrow").exists():
            own_rows = _read_arrow(own_file)
            positions[name] = list(range(len(rows), len(rows) + len(own_rows)))
            rows += own_rows
            origins += [(partition / f"client_{client}.test.parquet", r["row"]) for r in own_rows]
    has_own_rows = bool(positions)
    choices = load_choices([row["completion"] for row in rows], origins, settings["choices"])

    is_natural = manifest.partitioner == "natural_id" and not has_own_rows
    if is_natural and manifest.column and manifest.column in pq.read_schema(file).names:
        values = read_column(file, manifest.column, "column")
        for position, row in enumerate(common):
            positions.setdefault(str(values[row["row"]]), []).append(position)
    positions = {name: positions[name] for name in names if positions.get(name)}
    groups = read_column(file, by, "evaluation.by") if by is not None else None
    return EvaluationSet(
        rows=[
            EvaluationRow(
                prompt=row["prompt"],
                completion=row["completion"],
                input_ids=tuple(row["input_ids"]),
                completion_start=find_completion_start(row["labels"]),
                row=row["row"],
                question=row["question"] or row["prompt"],
                tool_calls=row["tool_calls"],
                references=row["references"],
                choices=row_choices,
                group=str(groups[row["row"]]) if groups and position < len(common) else None,
            )
            for position, (row, row_choices) in enumerate(zip(rows, choices, strict=True))
        ],
        num_common_rows=len(common),
        num_excluded_rows=len(used),
        leaked_rows=[i for i, row in enumerate(common) if row["row"] in leaked],
        client_names=names,
        rows_by_client=positions,
        client_row_source=("own" if has_own_rows else "common") if positions else None,
        chat_template=tokenized.chat_template,
    )


def _read_arrow(file: Path) -> list[dict[str, Any]]:
    with pa.memory_map(str(file)) as mapped:
        rows: list[dict[str, Any]] = pa.ipc.open_stream(mapped).read_all().to_pylist()
    return rows
