"""Select the part of the configuration that each stage depends on, as JSON values.

`stage_files` writes each part to a file. Snakemake reruns a stage when the file's digest changes.
"""

from typing import Any

from blossomtune.config.configuration import Configuration
from blossomtune.config.experiments import ExperimentSettings
from blossomtune.config.export import CONVERTER, CONVERTER_SOURCE
from blossomtune.files import compute_json_sha256


def fetch_model(configuration: Configuration, model: str) -> dict[str, Any]:
    """Return a model's source.

    Args:
        configuration: The whole configuration.
        model: Name of the model.

    Returns:
        JSON object.
    """
    return configuration.models[model].model_dump(mode="json")


def download(configuration: Configuration, dataset: str) -> dict[str, Any]:
    """Return a data set's block and the seed of its test split.

    Args:
        configuration: The whole configuration.
        dataset: Name of the data set.

    Returns:
        JSON object.
    """
    return configuration.datasets[dataset].model_dump(mode="json") | {"seed": configuration.seed}


def partition(configuration: Configuration, partition: str) -> dict[str, Any]:
    """Return a partition's block and the seed of its shuffling.

    For partitioner ``local``, the data set's settings for reading files are added.

    Args:
        configuration: The whole configuration.
        partition: Name of the partition.

    Returns:
        JSON object.
    """
    block = configuration.partitions[partition]
    settings = block.model_dump(mode="json") | {"seed": configuration.seed}
    if block.partitioner == "local":
        keys = {"format", "class_labels", "rename", "derive", "filter", "columns"}
        keys |= {"deduplicate_by", "deduplicate_as"}
        settings["reading"] = configuration.datasets[block.dataset].model_dump(
            mode="json", include=keys
        )
    return settings


def preprocess(configuration: Configuration, preprocessing: str) -> dict[str, Any]:
    """Return a preprocessing block.

    Args:
        configuration: The whole configuration.
        preprocessing: Name of the block.

    Returns:
        JSON object.
    """
    return configuration.preprocessing[preprocessing].model_dump(mode="json")


def render_preview(
    configuration: Configuration, partition: str, preprocessing: str, model: str
) -> dict[str, Any]:
    """Return the seed of the selection of rows, and the names of the blocks for the title.

    Args:
        configuration: The whole configuration.
        partition: Name of the partition.
        preprocessing: Name of the preprocessing.
        model: Name of the model.

    Returns:
        JSON object.
    """
    names = {"partition": partition, "preprocessing": preprocessing, "model": model}
    return names | {"seed": configuration.seed}


def federate(configuration: Configuration, experiment: str) -> dict[str, Any]:
    """Return an experiment's blocks ``lora``, ``training`` and ``federation``, and the seed.

    Args:
        configuration: The whole configuration.
        experiment: Name of the experiment.

    Returns:
        JSON object.
    """
    e = configuration.experiments[experiment]
    return e.model_dump(mode="json", include={"lora", "training", "federation"}) | {
        "seed": configuration.seed
    }


def invite(configuration: Configuration, experiment: str) -> dict[str, Any]:
    """Return the settings for clients that run their own SuperNodes.

    Args:
        configuration: The whole configuration.
        experiment: Name of the experiment.

    Returns:
        JSON object.
    """
    e = configuration.experiments[experiment]
    settings = federate(configuration, experiment)
    if settings["federation"]["privacy"]:
        settings["federation"]["privacy"]["secret"] = None
    return {
        "model": fetch_model(configuration, e.model),
        "model_name": e.model,
        "federate": settings,
        "partition": partition(configuration, e.partition),
        "preprocessing": preprocess(configuration, e.preprocessing),
    }


def train_baseline(configuration: Configuration, experiment: str) -> dict[str, Any]:
    """Return the settings that an experiment's baselines share.

    Args:
        configuration: The whole configuration.
        experiment: Name of the experiment.

    Returns:
        JSON object.
    """
    e = configuration.experiments[experiment]
    return e.model_dump(mode="json", include={"lora", "training"}) | {
        "seed": configuration.seed,
        "rounds": e.federation.rounds,
        "fraction_train": e.federation.fraction_train,
        "gpus": e.federation.max_gpus_per_client,
        "threads": e.baselines.threads,
    }


def merge(configuration: Configuration, experiment: str) -> dict[str, Any]:
    """Return the settings that the model card shows: names of blocks and a digest.

    Args:
        configuration: The whole configuration.
        experiment: Name of the experiment.

    Returns:
        JSON object.
    """
    e = configuration.experiments[experiment]
    names = {"model": e.model, "partition": e.partition, "preprocessing": e.preprocessing}
    return {
        "experiment": experiment,
        **names,
        "strategy": e.federation.strategy.name,
        "aggregation": e.federation.aggregation,
        "digest": compute_experiment_digest(configuration, experiment),
    }


def evaluate(configuration: Configuration, experiment: str) -> dict[str, Any]:
    """Return an experiment's evaluation block, the seed, and ``server_eval_rows``.

    The evaluation leaves out the test rows whose loss stopped training or selected the result.

    Args:
        configuration: The whole configuration.
        experiment: Name of the experiment.

    Returns:
        JSON object.
    """
    e = configuration.experiments[experiment]
    rows = e.federation.evaluate_rows if e.federation.selects_model_on_server else 0
    evaluation = e.evaluation.model_dump(mode="json", exclude={"benchmarks", "judge"})
    evaluation["generation"]["max_new_tokens"] = e.evaluation.max_new_tokens
    return evaluation | {
        "device": e.evaluation_device,
        "gpus": e.evaluation_gpus,
        "seed": configuration.seed,
        "server_eval_rows": rows,
    }


def track(configuration: Configuration) -> dict[str, Any]:
    """Return the names of the trackers."""
    return {"trackers": configuration.tracking}


def benchmark(configuration: Configuration, experiment: str) -> dict[str, Any]:
    """Return an experiment's benchmarks and what their scores depend on, beside the model.

    Args:
        configuration: The whole configuration.
        experiment: Name of the experiment.

    Returns:
        JSON object.
    """
    e = configuration.experiments[experiment]
    preprocessing = configuration.preprocessing[e.preprocessing]
    keys = {"benchmarks", "batch_size", "dtype"}
    return e.evaluation.model_dump(mode="json", include=keys) | {
        "device": e.evaluation_device,
        "gpus": e.evaluation_gpus,
        "chat_template_arguments": preprocessing.chat_template_arguments,
    }


def find_benchmark_leaks(configuration: Configuration, experiment: str) -> dict[str, Any]:
    """Return an experiment's benchmarks, and whether their leaks are an error.

    Args:
        configuration: The whole configuration.
        experiment: Name of the experiment.

    Returns:
        JSON object.
    """
    e = configuration.experiments[experiment]
    leaks = "error" if has_leak_errors(configuration, experiment) else "report"
    benchmarks = e.evaluation.model_dump(mode="json", include={"benchmarks"})
    return benchmarks | {"leaks": leaks}


def has_leak_errors(configuration: Configuration, experiment: str) -> bool:
    """Return whether an experiment refuses benchmarks whose questions are in training rows.

    Args:
        configuration: The whole configuration.
        experiment: Name of the experiment.

    Returns:
        Whether it has benchmarks, and its preprocessing has ``leaks: error``.
    """
    e = configuration.experiments[experiment]
    leaks = configuration.preprocessing[e.preprocessing].leaks
    return bool(e.evaluation.benchmarks) and leaks == "error"


def judge(configuration: Configuration, experiment: str) -> dict[str, Any]:
    """Return an experiment's block ``evaluation.judge``, the seed and the number of resamples.

    Args:
        configuration: The whole configuration.
        experiment: Name of the experiment.

    Returns:
        JSON object.
    """
    evaluation = configuration.experiments[experiment].evaluation
    settings = evaluation.model_dump(mode="json", include={"judge", "bootstrap"})
    return settings | {"seed": configuration.seed}


def fetch_converter(configuration: Configuration) -> dict[str, Any]:
    """Return the source of the converter to GGUF, which no key changes."""
    return CONVERTER_SOURCE.model_dump(mode="json")


def export(configuration: Configuration, experiment: str) -> dict[str, Any]:
    """Return an experiment's block ``export``, and its name, which files are named by.

    Args:
        configuration: The whole configuration.
        experiment: Name of the experiment.

    Returns:
        JSON object.
    """
    e = configuration.experiments[experiment]
    return (e.export.model_dump(mode="json") if e.export else {}) | {"experiment": experiment}


def publish(configuration: Configuration, experiment: str) -> dict[str, Any]:
    """Return an experiment's block ``publish``, and the settings that the model card shows.

    Args:
        configuration: The whole configuration.
        experiment: Name of the experiment, which has the block.

    Returns:
        JSON object.
    """
    e = configuration.experiments[experiment]
    return {
        "publish": e.publish.model_dump(mode="json") if e.publish else None,
        "dataset": configuration.partitions[e.partition].dataset,
        "card": merge(configuration, experiment),
    }


def plan(configuration: Configuration) -> dict[str, Any]:
    """Return the blocks of the experiments of this run, by experiment.

    Args:
        configuration: The whole configuration.

    Returns:
        JSON object.
    """
    experiments = {name: configuration.experiments[name] for name in configuration.run}
    return {
        name: {
            "model": e.model,
            "dataset": configuration.partitions[e.partition].dataset,
            "partition": e.partition,
            "preprocessing": e.preprocessing,
            "federate": federate(configuration, name),
            "baselines": e.baselines.model_dump(mode="json"),
            "evaluation": evaluate(configuration, name),
            "benchmarks": [benchmark.task for benchmark in e.evaluation.benchmarks],
            "gguf": list(e.export.gguf) if e.export else [],
        }
        for name, e in experiments.items()
    }


def plan_downloads(configuration: Configuration) -> dict[str, Any]:
    """Return the sources of the models and data sets of this run, by section and block.

    Args:
        configuration: The whole configuration.

    Returns:
        JSON object.
    """
    used = _dump_used_blocks(configuration, configuration.run)
    names = expand_mixtures(configuration, set(list_benchmark_datasets(configuration)))
    used["datasets"] |= {n: download(configuration, n) for n in sorted(names)}
    sources: dict[str, Any] = {}
    for section in ("models", "datasets"):
        sources[section] = {
            name: [block["source"], *([block["test"]["source"]] if _has_test_source(block) else [])]
            for name, block in used[section].items()
        }
    if any(configuration.experiments[name].export for name in configuration.run):
        sources["converters"] = {CONVERTER: [fetch_converter(configuration)]}
    return sources


def list_benchmark_datasets(configuration: Configuration) -> list[str]:
    """Return the data sets that benchmarks of this run read instead of a task's own data."""
    experiments = [configuration.experiments[name] for name in configuration.run]
    return sorted({b.dataset for e in experiments for b in e.evaluation.benchmarks if b.dataset})


def _has_test_source(block: dict[str, Any]) -> bool:
    return bool((block.get("test") or {}).get("source"))


def report(configuration: Configuration) -> dict[str, Any]:
    """Return the report's block, and all blocks that the experiments of this run use."""
    return {
        "report": configuration.report.model_dump(mode="json"),
        "configuration": {
            "seed": configuration.seed,
            "run": configuration.run,
            **_dump_used_blocks(configuration, configuration.run),
        },
        "digests": {
            name: compute_experiment_digest(configuration, name) for name in configuration.run
        },
    }


def compute_experiment_digest(configuration: Configuration, experiment: str) -> str:
    """Return the SHA-256 of all settings that an experiment's adapter depends on.

    Args:
        configuration: The whole configuration.
        experiment: Name of the experiment.

    Returns:
        64 hexadecimal digits.
    """
    used = _dump_used_blocks(configuration, [experiment])
    for key in ("baselines", "evaluation", "export", "publish"):
        del used["experiments"][experiment][key]
    return compute_json_sha256({"seed": configuration.seed, **used})


def _dump_used_blocks(configuration: Configuration, experiments: list[str]) -> dict[str, Any]:
    """Return all blocks that some experiments use, per section."""
    settings: list[ExperimentSettings] = [configuration.experiments[n] for n in experiments]
    names = {
        "models": {e.model for e in settings},
        "datasets": expand_mixtures(
            configuration, {configuration.partitions[e.partition].dataset for e in settings}
        ),
        "partitions": {e.partition for e in settings},
        "preprocessing": {e.preprocessing for e in settings},
        "experiments": set(experiments),
    }
    return {
        section: {
            n: getattr(configuration, section)[n].model_dump(mode="json") for n in sorted(used)
        }
        for section, used in names.items()
    }


def expand_mixtures(configuration: Configuration, names: set[str]) -> set[str]:
    """Return data sets and those that they are mixed from, directly or not.

    Args:
        configuration: The whole configuration.
        names: Names of data sets.

    Returns:
        The given names and those of all members.
    """
    members = {m for n in names for m in getattr(configuration.datasets[n].source, "datasets", [])}
    return names | (expand_mixtures(configuration, members) if members else set())
