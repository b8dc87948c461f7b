"""Tokenize rows of conversations as `preprocess` does, and read what it wrote."""

import functools

import pyarrow as pa
from artifact_samples import partition_manifest
from chat_families import build_tokenizer

from blossomtune.artifacts.files import write_artifact
from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.data.sources.file_formats import write_parquet
from blossomtune.data.tokenization.build_tokenized import tokenize_partition

CALL_ID = "abcdef012"
"""Id of nine characters, as Mistral wants them."""


def user(content, **fields):
    return {"role": "user", "content": content, **fields}


def assistant(content, **fields):
    return {"role": "assistant", "content": content, **fields}


def call(name, arguments, id=CALL_ID):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(content, id=CALL_ID):
    return {"role": "tool", "tool_call_id": id, "content": content}


def tool(name, description, **parameters):
    """Return the definition of a tool whose parameters are texts."""
    properties = {key: {"type": "string", "description": text} for key, text in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    function = {"name": name, "description": description, "parameters": schema}
    return {"type": "function", "function": function}


@functools.cache
def save_tokenizer(name, folder):
    """Save a family's tokenizer below a folder, once; return its model directory."""
    from transformers import LlamaConfig

    tokenizer = build_tokenizer(name)
    tokenizer.save_pretrained(folder / name)
    config = LlamaConfig(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id)
    config.save_pretrained(folder / name)
    return folder / name


def tokenize_rows(folder, model, rows, *, held_out=False, **config):
    """Return examples and manifest of the rows of one client.

    Args:
        folder: An empty folder.
        model: Directory of the tokenizer.
        rows: Values by column, per row.
        held_out: Return the examples of the same rows as the client's test rows.
        config: Keys of a preprocessing block.
    """
    partition, out = folder / "partition", folder / "out"
    partition.mkdir()
    out.mkdir()
    table = pa.Table.from_pylist(rows)
    for name in ("client_0", "client_0.test")[: 1 + held_out]:
        write_parquet(table.to_batches(), table.schema, partition / f"{name}.parquet")
    manifest = partition_manifest([{"name": "client", "rows": len(rows)}])
    write_artifact(partition / "manifest.json", manifest)
    config = PreprocessingSettings.model_validate({"max_length": 8192, **config})
    written = tokenize_partition(config.model_dump(mode="json"), model, None, partition, out)
    with pa.ipc.open_stream(out / f"{name}.arrow") as stream:
        return stream.read_all().to_pylist(), written
