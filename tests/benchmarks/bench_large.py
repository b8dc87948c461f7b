"""Peak memory of all stages with a model of 1.1 billion parameters; reference: the model's size.

Only anonymous memory counts (RssAnon of proc_pid_status(5)). Pages that are mapped from files of
weights also show in a process's resident memory, but all processes share them, and the system
drops them without writing when memory is short.
"""

import os
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path

import psutil
import yaml
from measurement import ROOT, Measurement

SIZES = {
    "vocab_size": 32000,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
}
"""Sizes of TinyLlama 1.1B."""

SHARD, SPARE = "500MB", 500e6
ROWS, TEST_ROWS = 60, 20
EXPERIMENT = "results/experiments/large"
STAGES = {
    "preprocess": "results/preprocessed/halves/texts/large",
    "federate": f"{EXPERIMENT}/history.json",
    "merge": f"{EXPERIMENT}/merged",
    "evaluate": f"{EXPERIMENT}/evaluation.json",
}
"""Last target of each stage; fetching is part of the first."""

MARK = "BLOSSOMTUNE_BENCH_LARGE"
"""Environment variable of the processes that are measured."""


def large_federate() -> Measurement:
    """Measure the largest process of one round of one step with two clients."""
    result = _measure()
    name = "1.1 B: peak of a process in federate / bf16 model"
    return Measurement(name, result["federate"], result["model"], "MB", target=1.6)


def large_merge() -> Measurement:
    """Measure merging and its check."""
    result = _measure()
    name = "1.1 B: peak of merge / largest shard + 500 MB"
    return Measurement(name, result["merge"], result["shard"] + SPARE / 1e6, "MB", target=1.0)


def large_evaluate() -> Measurement:
    """Measure the evaluation of base and merged model on twenty rows."""
    result = _measure()
    name = "1.1 B: peak of evaluate / bf16 model"
    return Measurement(name, result["evaluate"], result["model"], "MB", target=1.4)


@cache
def _measure() -> dict[str, float]:
    """Return the size of model and largest shard, and the peak of each stage, in megabytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_model(folder / "model")
        _write_configuration(folder)
        sizes = [path.stat().st_size / 1e6 for path in folder.glob("model/*.safetensors")]
        peaks = {}
        for stage, target in STAGES.items():
            peaks[stage] = _run_stage(folder, target)
            print(f"{stage:<12} {peaks[stage]:6.0f} MB", flush=True)
    return {"model": sum(sizes), "shard": max(sizes), **peaks}


def _write_model(folder: Path) -> None:
    """Write random weights, the same on each call, with a tokenizer of bytes."""
    import torch
    import transformers
    from tiny_models import build_all_tokenizers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(**SIZES, initializer_range=0.02)
    torch.set_default_dtype(torch.bfloat16)
    model = transformers.LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder, max_shard_size=SHARD)
    build_all_tokenizers()["chatml"][0].save_pretrained(folder)


def _write_configuration(folder: Path) -> None:
    rows = [f"text {i},{('good', 'bad')[i % 2]}\n" for i in range(ROWS)]
    (folder / "rows.csv").write_text("text,label\n" + "".join(rows))
    arguments = {"per_device_train_batch_size": 4, "max_steps": 1}
    experiment = {
        "model": "large",
        "partition": "halves",
        "preprocessing": "texts",
        "training": {"base_dtype": "bfloat16", "arguments": arguments},
        "federation": {"rounds": 1, "evaluate_rows": 4},
        "evaluation": {
            "choices": ["good", "bad"],
            "dtype": "bfloat16",
            "generation": {"rows": 2, "max_new_tokens": 2},
        },
    }
    configuration = {
        "run": ["large"],
        "models": {"large": {"source": {"kind": "path", "path": "model"}}},
        "datasets": {
            "rows": {"source": {"kind": "path", "path": "rows.csv"}, "test": {"size": TEST_ROWS}}
        },
        "partitions": {"halves": {"dataset": "rows", "partitioner": "iid", "num_partitions": 2}},
        "preprocessing": {"texts": {"prompt": "{{ text }}", "completion": "{{ label }}"}},
        "experiments": {"large": experiment},
    }
    (folder / "config").mkdir()
    (folder / "config/config.yaml").write_text(yaml.safe_dump(configuration))


def _run_stage(folder: Path, target: str) -> float:
    """Build a target; return the peak of the process with the largest one, in megabytes."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), target]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {MARK: target, "OMP_NUM_THREADS": "1", "PATH": path}
    process = subprocess.Popen([*command, "--cores", "2"], cwd=folder, env=environment)
    peak, stopped = [0.0], threading.Event()

    def watch() -> None:
        while not stopped.wait(0.05):
            peak[0] = max(peak[0], _get_largest(target))

    thread = threading.Thread(target=watch)
    thread.start()
    code = process.wait()
    stopped.set()
    thread.join()
    if code:
        raise SystemExit(f"{target} failed")
    return peak[0]


@cache
def _is_measured(process: psutil.Process, target: str) -> bool:
    """Return whether a process was started for a target, also if its parent has ended."""
    try:
        return process.environ().get(MARK) == target
    except psutil.Error:
        return False


def _get_largest(target: str) -> float:
    """Return the most anonymous memory of a process now, in megabytes."""
    sizes = [0.0]
    for process in psutil.process_iter():
        if _is_measured(process, target):
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                continue  # it has ended
            if "RssAnon:" in status:
                sizes.append(int(status.split("RssAnon:")[1].split()[0]) * 1024 / 1e6)
    return max(sizes)
