"""Rows a second of preprocess, beside `datasets.map` that only tokenises what is rendered already.

Run as a program, it is that: ``preprocessing.py MODEL TEXTS CORES``.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow_scripts"
MODEL = ROOT / "results/models/smollm2-135m-instruct"
ROWS, CHARACTERS, REPEATS = 40_000, 200, 3
sys.path += [str(SCRIPTS), str(ROOT / "tests")]


def preprocess(model: Path = MODEL, rows: int = ROWS, cores: int | None = None) -> dict:
    """The preprocess step against `datasets.map`, both as programs, from start to exit."""
    cores = cores or os.cpu_count()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write_rows(folder, rows)
        step = [SCRIPTS / "preprocess.py", "--config", _settings(), "--model", model]
        step += ["--dataset", folder, "--partition", folder, "--cores", cores]
        step += ["--output", folder / "ours"]
        _seconds(*step)  # once to have everything in the page cache, and to know the texts
        _write_texts(folder / "ours", folder / "texts.arrow", model)
        bare = [Path(__file__), model, folder / "texts.arrow", cores]
        runs = [(_seconds(*step), _seconds(*bare)) for _ in range(REPEATS)]  # side by side
    ours, other = (round(rows / min(seconds)) for seconds in zip(*runs, strict=True))
    return {
        "name": f"preprocess / datasets.map, {cores} cores",
        "ours": ours,
        "other": other,
        "unit": "rows/s",
        "ratio": round(ours / other, 3),
        "bound": 0.8,
    }


def _write_rows(folder: Path, rows: int) -> None:
    """One client's texts of made-up words, the same each time."""
    from artifact_samples import partition_manifest

    from blossomtune.artifacts.files import write_artifact
    from blossomtune.data.sources.file_formats import write_parquet

    random = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    shares = 1 / np.arange(1, 27)  # some letters, and some words, are rarer than others
    word = lambda: "".join(random.choice(letters, random.integers(1, 9), p=shares / shares.sum()))  # noqa: E731
    words = np.array([word() for _ in range(20_000)])
    chosen = words[(20_000 * random.random((rows, CHARACTERS // 4)) ** 3).astype(int)]
    texts = [" ".join(some)[:CHARACTERS] for some in chosen]
    labels = random.choice(["good", "bad"], rows).tolist()
    batch = pa.record_batch({"text": texts, "label": labels})
    for name, part in (("client_0", batch), ("test", batch.slice(0, 10))):
        write_parquet([part], batch.schema, folder / f"{name}.parquet")
    write_artifact(folder / "manifest.json", partition_manifest(["a"]))


def _settings() -> str:
    from blossomtune.config.preprocessing import PreprocessingSettings
    from blossomtune.files import to_canonical_json

    templates = {"prompt": "Is this text good or bad?\n\n{{ text }}", "completion": "{{ label }}"}
    return to_canonical_json(PreprocessingSettings(**templates).model_dump(mode="json"))


def _write_texts(preprocessed: Path, target: Path, model: Path) -> None:
    """What the client's rows look like when they are rendered, as Arrow."""
    from transformers import AutoTokenizer

    ids = pa.ipc.open_stream(preprocessed / "client_0.arrow").read_all()["input_ids"].to_pylist()
    table = pa.table({"text": AutoTokenizer.from_pretrained(model).batch_decode(ids)})
    with pa.OSFile(str(target), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)


def _seconds(*command: object) -> float:
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS), "RAYON_NUM_THREADS": "1"}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *map(str, command)], env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - start


def _bare(model: str, texts: str, cores: str) -> None:
    """What a careful person would write who has no templates, labels or limits."""
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
    _bare(*sys.argv[1:])
