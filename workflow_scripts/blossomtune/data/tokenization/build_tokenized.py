"""Tokenization of a partition: files of rows to files of token ids and labels."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
from pyarrow import parquet

from blossomtune.artifacts.files import read_artifact, write_artifact
from blossomtune.artifacts.leaks import Split
from blossomtune.artifacts.partition_manifest import PartitionManifest
from blossomtune.artifacts.tokenized_manifest import (
    ClientTokenCounts,
    HeldOutTokenCounts,
    TokenCounts,
    TokenizedManifest,
)
from blossomtune.data.leaks.count_leaks import HeldOutFile, count_leaks
from blossomtune.data.parallel import map_ordered, run_in_worker
from blossomtune.data.template_numbers import check_class_names
from blossomtune.data.tokenization import formats
from blossomtune.data.tokenization.arrow_batches import PACKED_SCHEMA
from blossomtune.data.tokenization.column_use import check_column_use
from blossomtune.data.tokenization.row_errors import (
    ERROR_KINDS,
    MAX_SHOWN_ROWS,
    RowError,
    check_row_errors,
)
from blossomtune.data.tokenization.row_groups import (
    ExampleCounts,
    RowGroup,
    RowGroupTokenizer,
    TokenizedRowGroup,
)
from blossomtune.data.tokenization.row_texts import compare_rows, describe_leaked_rows
from blossomtune.data.tokenization.template_warnings import describe_chat_template
from blossomtune.data.tokenization.vocabulary import require_embeddings
from blossomtune.files import compute_file_sha256
from blossomtune.modeling.chat_template import ChatTemplate
from blossomtune.modeling.tokenizer import load_tokenizer


def tokenize_partition(
    config: Mapping[str, Any],
    model: Path,
    dataset: Path | None,
    partition: Path,
    folder: Path,
    cores: int = 1,
) -> TokenizedManifest:
    """Write client_<i>.arrow, the clients' held-out rows, test.arrow and manifest.json.

    Args:
        config: a preprocessing block.
        model: directory of the model whose tokenizer and chat template are used.
        dataset: directory with test.parquet; None if a client prepares its own rows.
        partition: directory with client_<i>.parquet of the local clients.
        folder: an empty folder to write to.
        cores: number of processes; it does not affect the bytes.

    Returns:
        The manifest.

    Raises:
        UserError: if templates, rows and chat template do not fit each other.
    """
    partition_manifest = read_artifact(partition / "manifest.json", PartitionManifest)
    clients = partition_manifest.local_clients
    training = [partition / f"client_{client}.parquet" for client in clients]
    splits: list[tuple[int, Split, Path]] = [
        (client, split, file)
        for client in clients
        for split in get_args(Split)
        if (file := partition / f"client_{client}.{split}.parquet").exists()
    ]
    test_files = [dataset / "test.parquet"] if dataset else []
    held_out = [*(file for *_, file in splits), *test_files]

    if config["packing"]:
        from blossomtune.modeling.architecture import require_packing_support  # imports torch

        require_packing_support(model, config["max_length"])
    template = ChatTemplate(
        load_tokenizer(model), config["chat_template_arguments"], config["control_tokens"] == "text"
    )
    # fails before rows are read
    chat_template = run_in_worker(describe_chat_template, template, config, model)
    files = [*training, *test_files]
    schema = parquet.read_schema(files[0])
    row_format = formats.resolve_format(config, schema)
    for key, source in row_format.templates.items():
        check_class_names(key, source, partition_manifest.class_labels)
    tokenize = RowGroupTokenizer(config, row_format, template)
    used = tokenize.message_builder.find_columns(schema.names)
    column_use = check_column_use(config, used, files)
    groups = {file: _list_row_groups(file, is_held_out=False) for file in training}
    groups |= {file: _list_row_groups(file, is_held_out=True) for file in held_out}
    compared = {file: groups[file] for file in [*held_out, *training]}
    comparison = compare_rows(tokenize.message_builder, list(compared.values()), folder, cores)
    if config["leaks"] != "report":
        tokenize.leaks = describe_leaked_rows(comparison, held_out, training)
    tasks = list(chain.from_iterable(groups.values()))
    counts, dropped_rows, held_out_files = {}, {}, set(held_out)
    with closing(map_ordered(tokenize, tasks, min(cores, len(tasks)), isolate=True)) as results:
        for file, file_groups in groups.items():
            file_results = islice(results, len(file_groups))
            schema = tokenize.select_schema(file in held_out_files)
            counts[file], dropped_rows[file] = _write_tokenized(
                file, file_results, schema, config, folder
            )
    require_embeddings(folder, model, template.tokenizer)
    for number, file in enumerate(compared):
        comparison.exclude_rows(number, dropped_rows[file])
    owners: list[HeldOutFile] = [(client, split) for client, split, _ in splits]
    owners += [(None, "test") for _ in test_files]
    manifest = TokenizedManifest(
        shape=row_format,
        column_use=column_use,
        chat_template=chat_template,
        max_length=config["max_length"],
        packing=config["packing"],
        clients=[
            ClientTokenCounts(client=client, **dict(counts[file]))
            for client, file in zip(clients, training, strict=True)
        ],
        held_out=_group_counts_by_client(splits, counts),
        test=counts[test_files[0]] if test_files else None,
        leaks=count_leaks(comparison, owners, clients),
    )
    write_artifact(folder / "manifest.json", manifest)
    return manifest


def _list_row_groups(source: Path, *, is_held_out: bool) -> list[RowGroup]:
    """List the row groups of a file."""
    metadata, first_row, groups = parquet.read_metadata(source), 0, []
    for index in range(metadata.num_row_groups):
        groups.append(RowGroup(source, index, first_row, is_held_out))
        first_row += metadata.row_group(index).num_rows
    return groups


def _write_tokenized(
    source: Path,
    tokenized_groups: Iterable[TokenizedRowGroup],
    schema: pa.Schema,
    config: Mapping[str, Any],
    folder: Path,
) -> tuple[TokenCounts, list[int]]:
    """Write a file's row groups as an Arrow stream; return its counts and its dropped rows."""
    dropped_rows = list[int]()
    target, counts = folder / f"{source.stem}.arrow", ExampleCounts()
    row_errors: dict[str, list[RowError]] = {kind: [] for kind in ERROR_KINDS}
    with pa.OSFile(str(target), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for group in tokenized_groups:
            counts.add(group.counts)
            dropped_rows += group.dropped_rows
            for kind in ERROR_KINDS:
                row_errors[kind] = (row_errors[kind] + group.row_errors[kind])[:MAX_SHOWN_ROWS]
            if group.batch is not None:
                stream.write_batch(group.batch)
    check_row_errors(source.name, counts.rows, counts.dropped, row_errors, config)
    sha256 = compute_file_sha256(target)
    return counts.to_artifact(sha256, is_packed=schema is PACKED_SCHEMA), dropped_rows


def _group_counts_by_client(
    splits: Sequence[tuple[int, str, Path]], counts: Mapping[Path, TokenCounts]
) -> list[HeldOutTokenCounts]:
    by_client: dict[int, dict[str, TokenCounts]] = {}
    for client, split, file in splits:
        by_client.setdefault(client, {})[split] = counts[file]
    return [
        HeldOutTokenCounts(
            client=client, validation=by_split.get("validation"), test=by_split.get("test")
        )
        for client, by_split in by_client.items()
    ]
