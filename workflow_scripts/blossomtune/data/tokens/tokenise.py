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
from blossomtune.chat import manner
from blossomtune.data.tokens import shapes
from blossomtune.data.tokens.batches import PACKED
from blossomtune.data.tokens.groups import Counts, Part, Task, Work
from blossomtune.data.tokens.parallel import ordered
from blossomtune.data.tokens.problems import KINDS, SHOWN, check
from blossomtune.encoding import load_tokenizer


def build(
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
    manner(tokenizer)  # what is wrong with it shows before any row is read
    work = Work(
        config, shapes.find(config, parquet.read_schema([*training, *common][0])), tokenizer
    )
    tasks = {file: _tasks(file, held_out=False) for file in training}
    tasks |= {file: _tasks(file, held_out=True) for file in held_out}
    held, everything = set(held_out), list(chain.from_iterable(tasks.values()))
    with closing(ordered(work, everything, min(cores, len(everything)))) as parts:
        counts = {
            file: _write(file, islice(parts, len(groups)), work, file in held, folder)
            for file, groups in tasks.items()
        }
    manifest = {
        "shape": work.shape.describe(),
        "max_length": config["max_length"],
        "packing": config["packing"],
        "clients": [
            {"client": client, **counts[file]}
            for client, file in zip(clients, training, strict=True)
        ],
        "held_out": _by_client(splits, counts),
        "test": counts[common[0]] if common else None,
    }
    files.write_json(folder / "manifest.json", manifest)
    return manifest


def _tasks(source: Path, *, held_out: bool) -> list[Task]:
    """The row groups of a file."""
    metadata, first, tasks = parquet.read_metadata(source), 0, []
    for group in range(metadata.num_row_groups):
        tasks.append(Task(source, group, first, held_out))
        first += metadata.row_group(group).num_rows
    return tasks


def _write(
    source: Path, parts: Iterable[Part], work: Work, held_out: bool, folder: Path
) -> dict[str, Any]:
    """Writes a file's parts as an Arrow stream, and returns its counts and checksum."""
    target, schema = folder / f"{source.stem}.arrow", work.schema(held_out)
    counts, problems = Counts(), {kind: [] for kind in KINDS}
    with pa.OSFile(str(target), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for part in parts:
            counts.add(part.counts)
            for kind in KINDS:
                problems[kind] = (problems[kind] + part.problems[kind])[:SHOWN]
            if part.batch is not None:
                stream.write_batch(part.batch)
    check(source.name, counts.rows, counts.dropped, problems, work.config)
    packed = counts.packed if schema is PACKED else None
    return {**asdict(counts), "packed": packed, "sha256": files.sha256(target)}


def _by_client(
    splits: Sequence[tuple[int, str, Path]], counts: Mapping[Path, dict[str, Any]]
) -> list[dict[str, Any]]:
    held: dict[int, dict[str, Any]] = {}
    for client, split, file in splits:
        empty = {"client": client, "validation": None, "test": None}
        held.setdefault(client, empty)[split] = counts[file]
    return list(held.values())
