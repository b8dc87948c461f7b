"""Files of rows as files of token ids: rendered, cut at the borders of turns, prompts masked."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from blossomtune import files
from blossomtune.data.tokenization import formats
from blossomtune.data.tokenization.arrow_batches import PACKED_SCHEMA
from blossomtune.data.tokenization.parallel import map_ordered
from blossomtune.data.tokenization.row_errors import ERROR_KINDS, MAX_SHOWN_ROWS, check_row_errors
from blossomtune.data.tokenization.row_groups import (
    ExampleCounts,
    RowGroup,
    RowGroupTokenizer,
    TokenizedRowGroup,
)
from blossomtune.modeling.chat_template import detect_turn_format
from blossomtune.modeling.tokenizer import load_tokenizer


def tokenize_partition(
    config: Mapping[str, Any],
    model: Path,
    dataset: Path | None,
    partition: Path,
    folder: Path,
    cores: int = 1,
) -> dict[str, Any]:
    """Writes client_<i>.arrow and what the client holds out, test.arrow and manifest.json.

    Args:
        config: a preprocessing block.
        model: directory of the model whose tokenizer and chat template are used.
        dataset: directory with test.parquet; None where a client prepares its own rows.
        partition: directory with client_<i>.parquet of the clients whose rows are here.
        folder: an empty folder to write to.
        cores: how many processes work; the bytes are the same for any number.

    Returns:
        The manifest.

    Raises:
        UserError: where a template, a row or the chat template does not fit the others.
    """
    known = files.read_json(partition / "manifest.json")["clients"]
    clients = [c["client"] for c in known if c["rows"] is not None]
    training = [partition / f"client_{client}.parquet" for client in clients]
    splits = [
        (client, split, file)
        for client in clients
        for split in ("validation", "test")
        if (file := partition / f"client_{client}.{split}.parquet").exists()
    ]
    common = [dataset / "test.parquet"] if dataset else []
    held_out = [*(file for *_, file in splits), *common]

    tokenizer = load_tokenizer(model)
    detect_turn_format(tokenizer)  # what is wrong with it shows before any row is read
    work = RowGroupTokenizer(
        config,
        formats.resolve_format(config, parquet.read_schema([*training, *common][0])),
        tokenizer,
    )
    tasks = {file: _list_row_groups(file, is_held_out=False) for file in training}
    tasks |= {file: _list_row_groups(file, is_held_out=True) for file in held_out}
    held, everything = set(held_out), list(chain.from_iterable(tasks.values()))
    with closing(map_ordered(work, everything, min(cores, len(everything)))) as parts:
        counts = {
            file: _write_tokenized(file, islice(parts, len(groups)), work, file in held, folder)
            for file, groups in tasks.items()
        }
    manifest = {
        "shape": work.row_format.describe(),
        "max_length": config["max_length"],
        "packing": config["packing"],
        "clients": [
            {"client": client, **counts[file]}
            for client, file in zip(clients, training, strict=True)
        ],
        "held_out": _group_counts_by_client(splits, counts),
        "test": counts[common[0]] if common else None,
    }
    files.write_json(folder / "manifest.json", manifest)
    return manifest


def _list_row_groups(source: Path, *, is_held_out: bool) -> list[RowGroup]:
    """The row groups of a file."""
    metadata, first, tasks = parquet.read_metadata(source), 0, []
    for group in range(metadata.num_row_groups):
        tasks.append(RowGroup(source, group, first, is_held_out))
        first += metadata.row_group(group).num_rows
    return tasks


def _write_tokenized(
    source: Path,
    tokenized_groups: Iterable[TokenizedRowGroup],
    group_tokenizer: RowGroupTokenizer,
    is_held_out: bool,
    folder: Path,
) -> dict[str, Any]:
    """Writes a file's parts as an Arrow stream, and returns its counts and checksum."""
    target, schema = folder / f"{source.stem}.arrow", group_tokenizer.select_schema(is_held_out)
    counts, problems = ExampleCounts(), {kind: [] for kind in ERROR_KINDS}
    with pa.OSFile(str(target), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for part in tokenized_groups:
            counts.add(part.counts)
            for kind in ERROR_KINDS:
                problems[kind] = (problems[kind] + part.row_errors[kind])[:MAX_SHOWN_ROWS]
            if part.batch is not None:
                stream.write_batch(part.batch)
    check_row_errors(source.name, counts.rows, counts.dropped, problems, group_tokenizer.config)
    packed = counts.packed if schema is PACKED_SCHEMA else None
    return {**asdict(counts), "packed": packed, "sha256": files.compute_file_sha256(target)}


def _group_counts_by_client(
    splits: Sequence[tuple[int, str, Path]], counts: Mapping[Path, dict[str, Any]]
) -> list[dict[str, Any]]:
    held: dict[int, dict[str, Any]] = {}
    for client, split, file in splits:
        empty = {"client": client, "validation": None, "test": None}
        held.setdefault(client, empty)[split] = counts[file]
    return list(held.values())
