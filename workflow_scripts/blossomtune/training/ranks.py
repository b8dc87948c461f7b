"""Resolve the LoRA rank of each client."""

from pathlib import Path

from blossomtune.config.lora import ColumnRanks, LoraSettings
from blossomtune.errors import UserError, find_closest_match


def resolve_client_ranks(lora: LoraSettings, partition: Path, client_names: list[str]) -> list[int]:
    """Resolve the LoRA rank of each client.

    Args:
        lora: The experiment's LoRA settings.
        partition: Directory with ``client_<i>.parquet``, read if ranks depend on a column.
        client_names: Names of all clients.

    Returns:
        One rank per client.

    Raises:
        UserError: If a client has no value or several values in the column, or one without a rank.
    """
    if not isinstance(lora.ranks, ColumnRanks):
        return list(lora.ranks or [lora.r] * len(client_names))
    import pyarrow.parquet as pq

    column, rank_by_value = lora.ranks.column, lora.ranks.ranks
    ranks = []
    for i, name in enumerate(client_names):
        file = partition / f"client_{i}.parquet"
        columns = pq.read_schema(file).names
        if column not in columns:
            match = find_closest_match(column, columns)
            raise UserError(
                f"lora.ranks.column: {column!r} is not a column of the clients' rows; "
                f"they have {', '.join(columns)}",
                f"did you mean {match!r}?" if match else None,
            )
        table = pq.read_table(file, columns=[column])
        values = {str(value) for value in table[column].unique().to_pylist()}
        if len(values) != 1 or not values <= rank_by_value.keys():
            listed = ", ".join(map(repr, sorted(values)[:3])) + (", …" if len(values) > 3 else "")
            raise UserError(
                f"lora.ranks: client {i} ({name}) has {listed} in column {column!r}; it must be "
                f"one of {', '.join(rank_by_value)}, the same in all of a client's rows"
            )
        ranks.append(rank_by_value[values.pop()])
    return ranks
