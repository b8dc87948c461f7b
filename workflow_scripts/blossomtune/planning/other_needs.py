"""Read what finished stages needed, and estimate what those after training need."""

import csv
import math
from pathlib import Path

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.plan import MemoryPart, StageNeeds
from blossomtune.artifacts.provenance import Provenance
from blossomtune.modeling.load import parse_dtype
from blossomtune.modeling.safetensors_header import read_header
from blossomtune.planning.experiment import PlannedExperiment
from blossomtune.planning.machine import compute_folder_size, get_process_memory
from blossomtune.planning.measure_step import MeasuredStep
from blossomtune.planning.model_memory import ModelMemory
from blossomtune.planning.training_needs import compute_mean_share, estimate_scoring
from blossomtune.training import schedule

FORWARD_SHARE = 1 / 3
"""Share of a forward pass in the time of a training step."""

MAX_THREADS = 8
"""Threads of evaluate."""

QUESTION_TOKENS = 512
"""Tokens per question of a benchmark. The real ones are not known before tasks are fetched."""

GGUF_BYTES = {"f32": 4, "f16": 2, "bf16": 2, "q8_0": 34 / 32, "tq1_0": 2, "tq2_0": 2}
"""Bytes per weight. The ternary types have an upper bound: embeddings keep 16 bits."""

MERGE_COPIES = 2
"""A layer's weights and their sum with the update exist at once."""


def read_finished_stage(results: Path, stage: str, block: str, folder: Path) -> StageNeeds:
    """Return what a finished stage needed, by its benchmark file and its results.

    Args:
        results: Folder of the results.
        stage: Name of the stage.
        block: Path of its benchmark file without suffix, such as the name of the data set.
        folder: Its results.

    Returns:
        The needs; memory and time are unknown without a benchmark file.
    """
    ram: tuple[MemoryPart, ...] | None = None
    seconds: tuple[float, float] | None = None
    file = results / "benchmarks" / stage / f"{block}.tsv"
    if file.is_file():
        with file.open(encoding="utf-8") as lines:
            row = next(csv.DictReader(lines, delimiter="\t"))
        ram = (MemoryPart(part="process", size=int(float(row["max_rss"]) * 2**20)),)
        seconds = (float(row["s"]), float(row["s"]))
    return StageNeeds(
        stage=stage,
        block=block,
        ram=ram,
        disk=compute_folder_size(folder),
        seconds=seconds,
        basis="measured",
    )


def list_finished_stages(experiment: PlannedExperiment) -> list[StageNeeds]:
    """Return what the stages before training needed."""
    results, config = experiment.results, experiment.config
    model, dataset, partition = (config[key] for key in ("model", "dataset", "partition"))
    rows = f"{partition}/{config['preprocessing']}/{model}"
    folders = {
        ("fetch_model", model): results / "models" / model,
        ("download", dataset): results / "datasets" / dataset,
        ("partition", partition): results / "partitions" / partition,
        ("preprocess", rows): experiment.preprocessed,
    }
    return [
        read_finished_stage(results, stage, block, folder)
        for (stage, block), folder in folders.items()
    ]


def estimate_merge(experiment: PlannedExperiment) -> StageNeeds:
    """Estimate what merge needs: it reads one layer at a time from the mapped shards."""
    files = list(experiment.model_dir.glob("*.safetensors"))
    shards = [file.stat().st_size for file in files]
    return StageNeeds(
        stage="merge",
        block=experiment.name,
        ram=(
            MemoryPart(part="Python and its libraries", size=get_process_memory()),
            MemoryPart(part="largest shard, mapped", size=max(shards)),
            MemoryPart(
                part="largest tensor in float32",
                size=4 * max(map(_count_largest_tensor, files)),
                count=MERGE_COPIES,
            ),
        ),
        disk=sum(shards),
    )


def _count_largest_tensor(file: Path) -> int:
    """Return the number of values in the largest tensor of a safetensors file."""
    tensors = read_header(file).tensors.values()
    largest: int = max(math.prod(tensor["shape"]) for tensor in tensors)
    return largest


def estimate_evaluate(experiment: PlannedExperiment, step: MeasuredStep | None) -> StageNeeds:
    """Estimate what evaluate needs: one model at a time and its largest batch.

    Args:
        experiment: The experiment.
        step: Measured step of a client, if there is one.

    Returns:
        The needs.
    """
    settings = experiment.config["evaluation"]
    dtype = parse_dtype(settings["dtype"])
    rows = experiment.select_test_rows(settings["batch_size"])
    memory = estimate_scoring(experiment, rows, dtype)
    needs = _build_scoring_needs("evaluate", experiment, memory, "activations and cache")
    seconds = _bound_seconds(experiment, step) if step else None
    return needs.model_copy(update={"seconds": seconds})


def estimate_benchmark(experiment: PlannedExperiment) -> StageNeeds:
    """Estimate what the benchmarks of one model need; those of other models need the same."""
    settings = experiment.config["evaluation"]
    dtype = parse_dtype(settings["dtype"])
    question = {"input_ids": [0] * QUESTION_TOKENS, "labels": [0] * QUESTION_TOKENS}
    rows = [question] * settings["batch_size"]
    memory = estimate_scoring(experiment, rows, dtype, copies_logits=True)
    part = f"activations and logits of questions of {QUESTION_TOKENS} tokens"
    return _build_scoring_needs("benchmark", experiment, memory, part)


def _build_scoring_needs(
    stage: str, experiment: PlannedExperiment, memory: ModelMemory, activations: str
) -> StageNeeds:
    """Return the needs of a stage with one model at a time, on the evaluation's device."""
    uses_gpu = experiment.num_gpus > 0 and experiment.config["evaluation"]["device"] != "cpu"
    process = MemoryPart(part="Python and its libraries", size=get_process_memory())
    parts = (
        MemoryPart(part="base weights", size=memory.weights),
        MemoryPart(part=activations, size=memory.activations),
    )
    return StageNeeds(
        stage=stage,
        block=experiment.name,
        ram=(process, parts[0]) if uses_gpu else (process, *parts),
        gpu=parts if uses_gpu else (),
        disk=0,
    )


def estimate_export(experiment: PlannedExperiment) -> StageNeeds:
    """Estimate what the GGUF files need: llama.cpp maps each of them, to compare its tokens."""
    provenance = read_artifact(experiment.model_dir / "provenance.json", Provenance)
    sizes = [int(GGUF_BYTES[t] * provenance.parameters) for t in experiment.config["gguf"]]
    return StageNeeds(
        stage="export",
        block=experiment.name,
        ram=(
            MemoryPart(part="Python and its libraries", size=get_process_memory()),
            MemoryPart(part="largest GGUF file, mapped", size=max(sizes)),
        ),
        disk=sum(sizes),
    )


def _bound_seconds(experiment: PlannedExperiment, step: MeasuredStep) -> tuple[float, float] | None:
    """Return least and most seconds by the speed of training, with all threads and with one."""
    manifest, spec = experiment.manifest, experiment.run.spec
    settings = experiment.config["evaluation"]
    if manifest.test is None:
        return None
    models = 2 + int(experiment.baselines.centralised)
    models += len(spec.clients) if experiment.baselines.local else 0
    rows_per_step = schedule.effective_batch_size(spec.training)
    row_seconds = FORWARD_SHARE * step.seconds * compute_mean_share(experiment) / rows_per_step
    rows = manifest.test.num_examples
    answers = min(settings["generation"]["rows"], rows)
    passes = rows * (2 if settings["choices"] else 1)
    # a generated token costs less than a row and more than a token of it: weights are read again
    passes += answers * settings["generation"]["max_new_tokens"] / 8
    most = models * passes * row_seconds
    threads = min(MAX_THREADS, experiment.cores) / spec.federation.threads_per_client
    return most / max(1, threads), most
