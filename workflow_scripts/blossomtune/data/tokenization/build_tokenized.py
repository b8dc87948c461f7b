"""Files of rows as files of token ids: rendered, cut at the borders of turns, prompts masked."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from blossomtune.artifacts.files import read_artifact, write_artifact
from blossomtune.artifacts.partition_manifest import PartitionManifest
from blossomtune.artifacts.tokenized_manifest import (
    ClientTokenCounts,
    HeldOutTokenCounts,
    TokenCounts,
    TokenizedManifest,
)
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
from blossomtune.files import compute_file_sha256
from blossomtune.modeling.chat_template import detect_turn_format
from blossomtune.modeling.tokenizer import load_tokenizer


def tokenize_partition(
    config: Mapping[str, Any],
    model: Path,
    dataset: Path | None,
    partition: Path,
    folder: Path,
    cores: int = 1,
) -> TokenizedManifest:
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
    clients = read_artifact(partition / "manifest.json", PartitionManifest).local_clients
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
    manifest = TokenizedManifest(
        shape=work.row_format,
        max_length=config["max_length"],
        packing=config["packing"],
        clients=[
            ClientTokenCounts(client=client, **dict(counts[file]))
            for client, file in zip(clients, training, strict=True)
        ],
        held_out=_group_counts_by_client(splits, counts),
        test=counts[common[0]] if common else None,
    )
    write_artifact(folder / "manifest.json", manifest)
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
) -> TokenCounts:
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
    return counts.to_artifact(compute_file_sha256(target), is_packed=schema is PACKED_SCHEMA)


def _group_counts_by_client(
    splits: Sequence[tuple[int, str, Path]], counts: Mapping[Path, TokenCounts]
) -> list[HeldOutTokenCounts]:
    by_client: dict[int, dict[str, TokenCounts]] = {}
    for client, split, file in splits:
        by_client.setdefault(client, {})[split] = counts[file]
    return [
        HeldOutTokenCounts(client=client, validation=of.get("validation"), test=of.get("test"))
        for client, of in by_client.items()
    ]
