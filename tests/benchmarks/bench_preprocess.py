"""The preprocess step; reference: ``datasets.map`` that only tokenizes rendered texts.

As a program, ``bench_preprocess.py MODEL TEXTS CORES`` is the reference.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from measurement import ROOT, SCRIPTS, Measurement, time_program

MODEL = ROOT / "results/models/smollm2-135m-instruct"
ROWS, CHARACTERS, REPEATS = 40_000, 200, 3


def preprocess(model: Path = MODEL, rows: int = ROWS, cores: int | None = None) -> Measurement:
    """Measure both sides as programs, from start to exit."""
    cores = cores or os.cpu_count()
    threads = {"RAYON_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = folder / "rows"
        _write_rows(inputs, rows)
        step = [SCRIPTS / "preprocess.py", "--config", _build_config(), "--model", model]
        step += ["--dataset", inputs, "--partition", inputs, "--cores", cores]
        step += ["--output", folder / "ours"]
        time_program(*step, **threads)  # fills the page cache, and renders the texts
        _write_texts(folder / "ours", folder / "texts.arrow", model)
        reference = [__file__, model, folder / "texts.arrow", cores]
        times = [
            (time_program(*step, **threads), time_program(*reference, **threads))
            for _ in range(REPEATS)  # alternate, so that noise affects both
        ]
    speeds = [rows / min(seconds) for seconds in zip(*times, strict=True)]
    return Measurement(
        f"preprocess / datasets.map, {cores} cores", *speeds, unit="rows/s", target=0.8
    )


def _write_rows(folder: Path, rows: int) -> None:
    """Write the same random texts on each call, as rows of one client."""
    from artifact_samples import partition_manifest

    from blossomtune.artifacts.checksums import write_checksums
    from blossomtune.artifacts.files import write_artifact
    from blossomtune.data.sources.file_formats import write_parquet

    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    probabilities = 1 / np.arange(1, 27)  # as in texts, some letters and some words are rare
    probabilities /= probabilities.sum()
    words = np.array(
        ["".join(rng.choice(letters, rng.integers(1, 9), p=probabilities)) for _ in range(20_000)]
    )
    sampled = words[(20_000 * rng.random((rows, CHARACTERS // 4)) ** 3).astype(int)]
    texts = [" ".join(row)[:CHARACTERS] for row in sampled]
    batch = pa.record_batch({"text": texts, "label": rng.choice(["good", "bad"], rows).tolist()})
    folder.mkdir()
    for name, part in (("client_0", batch), ("test", batch.slice(0, 10))):
        write_parquet([part], batch.schema, folder / f"{name}.parquet")
    write_artifact(folder / "manifest.json", partition_manifest(["a"]))
    write_checksums(folder, "partition")


def _build_config() -> str:
    from blossomtune.config.preprocessing import PreprocessingSettings
    from blossomtune.files import to_canonical_json

    templates = {"prompt": "Is this text good or bad?\n\n{{ text }}", "completion": "{{ label }}"}
    return to_canonical_json(PreprocessingSettings(**templates).model_dump(mode="json"))


def _write_texts(preprocessed: Path, target: Path, model: Path) -> None:
    """Write the client's rendered rows as Arrow."""
    from transformers import AutoTokenizer

    ids = pa.ipc.open_stream(preprocessed / "client_0.arrow").read_all()["input_ids"].to_pylist()
    table = pa.table({"text": AutoTokenizer.from_pretrained(model).batch_decode(ids)})
    with pa.OSFile(str(target), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)


def _tokenize(model: str, texts: str, cores: str) -> None:
    """Tokenize texts, without templates, labels and limits."""
    from datasets import Dataset, disable_progress_bars
    from transformers import AutoTokenizer

    disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(model)
    data = Dataset.from_file(texts)
    data.map(
        lambda batch: tokenizer(batch["text"], add_special_tokens=False),
        batched=True,
        num_proc=int(cores) if int(cores) > 1 else None,
        cache_file_name=f"{texts}.{os.getpid()}",
    )


if __name__ == "__main__":
    _tokenize(*sys.argv[1:])
