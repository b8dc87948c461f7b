"""The rank of each client's adapter."""

from pathlib import Path

from blossomtune.config.lora import ColumnRanks, LoraSettings
from blossomtune.errors import UserError, find_closest_match


def resolve_client_ranks(lora: LoraSettings, partition: Path, client_names: list[str]) -> list[int]:
    """The rank of every client's adapter, in the order of the clients.

    Raises:
        UserError: where a client's rows do not have one value in the column that ranks go by, or
            one without a rank.
    """
    if not isinstance(lora.ranks, ColumnRanks):
        return list(lora.ranks or [lora.r] * len(client_names))
    import pyarrow.parquet as pq

    column, known = lora.ranks.column, lora.ranks.ranks
    ranks = []
    for i, name in enumerate(client_names):
        file = partition / f"client_{i}.parquet"
        columns = pq.read_schema(file).names
        if column not in columns:
            near = find_closest_match(column, columns)
            raise UserError(
                f"lora.ranks.column: {column!r} is not a column of the clients' rows; "
                f"they have {', '.join(columns)}",
                f"did you mean {near!r}?" if near else None,
            )
        values = {
            str(v) for v in pq.read_table(file, columns=[column])[column].unique().to_pylist()
        }
        if len(values) != 1 or not values <= known.keys():
            said = ", ".join(map(repr, sorted(values)[:3])) + (", …" if len(values) > 3 else "")
            raise UserError(
                f"lora.ranks: client {i} ({name}) has {said} in column {column!r}; it must be one "
                f"of {', '.join(known)}, the same in all of a client's rows"
            )
        ranks.append(known[values.pop()])
    return ranks
