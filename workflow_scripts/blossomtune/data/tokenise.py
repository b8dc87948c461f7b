"""Rows as token ids: templates rendered, the chat template applied once, the prompt masked."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from blossomtune import files
from blossomtune.data.templates import Template
from blossomtune.encoding import IGNORED, encode_all, load_tokenizer, prompt_text
from blossomtune.errors import UserError

_IDS = pa.list_(pa.int32())
_SCHEMA = pa.schema([("row", pa.int32()), ("input_ids", _IDS), ("labels", _IDS)])
_TEST_SCHEMA = _SCHEMA.append(pa.field("prompt", pa.string())).append(
    pa.field("completion", pa.string())
)
_BATCH = 1000  # rows held in memory at a time; fixed, so that the bytes are always the same


@dataclass
class Counts:
    """What became of a file's rows; tokens include the end of turn."""

    rows: int = 0
    dropped: int = 0
    tokens: int = 0
    completion_tokens: int = 0
    longest: int = 0


def build(
    config: Mapping[str, Any], model: Path, dataset: Path, partition: Path, folder: Path
) -> dict[str, Any]:
    """Writes client_<i>.arrow for each client, test.arrow and manifest.json.

    Args:
        config: a preprocessing block.
        model: directory of the model whose tokenizer and chat template are used.
        dataset: directory with test.parquet.
        partition: directory with client_<i>.parquet.
        folder: an empty folder to write to.

    Returns:
        The manifest.

    Raises:
        UserError: where a template, a row or the chat template does not fit the others.
    """
    writer = _Writer(config, load_tokenizer(model))
    clients = []
    for client in files.read_json(partition / "manifest.json")["clients"]:
        name = f"client_{client['client']}"
        counts = writer.write(partition / f"{name}.parquet", folder / f"{name}.arrow", _SCHEMA)
        clients.append({"client": client["client"], **counts})
    test = writer.write(dataset / "test.parquet", folder / "test.arrow", _TEST_SCHEMA)
    manifest = {"clients": clients, "test": test, "max_length": config["max_length"]}
    files.write_json(folder / "manifest.json", manifest)
    return manifest


class _Writer:
    """Turns files of rows into files of token ids, all by the same templates."""

    def __init__(self, config: Mapping[str, Any], tokenizer: Any) -> None:
        keys = [key for key in ("system", "prompt", "completion") if config[key] is not None]
        self._templates = {key: Template(key, config[key]) for key in keys}
        self._limit, self._drop = config["max_length"], config["too_long"] == "drop"
        self._tokenizer = tokenizer

    def write(self, source: Path, target: Path, schema: pa.Schema) -> dict[str, Any]:
        """Tokenises one file into an Arrow stream, and returns its counts and checksum."""
        counts = Counts()
        with pa.OSFile(str(target), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
            at = 0
            for batch in parquet.ParquetFile(source).iter_batches(_BATCH):
                kept = list(self._examples(batch.to_pylist(), at, source.name, counts))
                at += batch.num_rows
                stream.write_batch(pa.RecordBatch.from_pylist(kept, schema))
        if not counts.rows:
            raise UserError(
                f"{source.name}: all {counts.dropped} rows have over {self._limit} tokens",
                "raise max_length",
            )
        return {**asdict(counts), "sha256": files.sha256(target)}

    def _examples(
        self, rows: list[dict[str, Any]], first: int, name: str, counts: Counts
    ) -> Iterator[dict[str, Any]]:
        texts = [self._render(row, f"row {i} of {name}") for i, row in enumerate(rows, first)]
        prompts, completions = [p for p, _ in texts], [c for _, c in texts]
        encoded = encode_all(self._tokenizer, prompts, completions)
        for i, (ids, labels) in enumerate(encoded):
            row = first + i
            if len(ids) > self._limit:
                self._refuse(row, name, len(ids))
                counts.dropped += 1
                continue
            counts.rows += 1
            counts.tokens += len(ids)
            counts.completion_tokens += len(labels) - labels.count(IGNORED)
            counts.longest = max(counts.longest, len(ids))
            example = {"row": row, "input_ids": ids, "labels": labels}
            yield example | {"prompt": prompts[i], "completion": completions[i]}

    def _render(self, row: Mapping[str, Any], where: str) -> tuple[str, str]:
        """The prompt as the chat template writes it, and the completion."""
        text = {key: template.render(row, where) for key, template in self._templates.items()}
        if not text["completion"].strip():
            raise UserError(
                f"{where}: completion: the text is empty, so there is nothing to learn from it",
                "drop such rows from the data, or mend the template",
            )
        return prompt_text(self._tokenizer, text["prompt"], text.get("system")), text["completion"]

    def _refuse(self, row: int, name: str, tokens: int) -> None:
        if not self._drop:
            raise UserError(
                f"row {row} of {name} has {tokens} tokens; max_length is {self._limit}",
                "raise max_length, or set too_long: drop",
            )
