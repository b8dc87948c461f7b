"""What of the configuration each stage uses: nothing more, so that nothing else reruns it.

Every function returns plain JSON values. Snakemake gets them as one canonical string
(``blossomtune.files.canonical``) and reruns a stage exactly when that string changes.
"""

from typing import Any

from blossomtune.config.configuration import Configuration
from blossomtune.config.experiments import ExperimentSettings
from blossomtune.files import compute_json_sha256


def fetch_model(configuration: Configuration, model: str) -> dict[str, Any]:
    """A model's source."""
    return configuration.models[model].model_dump(mode="json")


def download(configuration: Configuration, dataset: str) -> dict[str, Any]:
    """A data set's block, and the seed of its test split."""
    return configuration.datasets[dataset].model_dump(mode="json") | {"seed": configuration.seed}


def partition(configuration: Configuration, partition: str) -> dict[str, Any]:
    """A partition's block, and the seed of its shuffling.

    Where the clients have their shards already, also how files become rows.
    """
    block = configuration.partitions[partition]
    told = block.model_dump(mode="json") | {"seed": configuration.seed}
    if block.partitioner == "local":
        keys = {"format", "rename", "derive", "filter", "columns"}
        keys |= {"deduplicate_by", "deduplicate_as"}
        told["reading"] = configuration.datasets[block.dataset].model_dump(
            mode="json", include=keys
        )
    return told


def preprocess(configuration: Configuration, preprocessing: str) -> dict[str, Any]:
    """A preprocessing block."""
    return configuration.preprocessing[preprocessing].model_dump(mode="json")


def federate(configuration: Configuration, experiment: str) -> dict[str, Any]:
    """Adapter, training and federation of an experiment."""
    e = configuration.experiments[experiment]
    return e.model_dump(mode="json", include={"lora", "training", "federation"}) | {
        "seed": configuration.seed
    }


def invite(configuration: Configuration, experiment: str) -> dict[str, Any]:
    """What clients that run their own SuperNodes have to know of an experiment."""
    e = configuration.experiments[experiment]
    told = federate(configuration, experiment)
    if told["federation"]["privacy"]:
        told["federation"]["privacy"]["secret"] = None
    return {
        "model": fetch_model(configuration, e.model),
        "model_name": e.model,
        "federate": told,
        "partition": partition(configuration, e.partition),
        "preprocessing": preprocess(configuration, e.preprocessing),
    }


def train_baseline(configuration: Configuration, experiment: str) -> dict[str, Any]:
    """What of an experiment its controls share: adapter and training, and how many steps."""
    e = configuration.experiments[experiment]
    return e.model_dump(mode="json", include={"lora", "training"}) | {
        "seed": configuration.seed,
        "rounds": e.federation.rounds,
        "fraction_train": e.federation.fraction_train,
        "gpu": e.federation.gpus_per_client != 0,
        "threads": e.baselines.threads,
    }


def merge(configuration: Configuration, experiment: str) -> dict[str, Any]:
    """What the model card says of the configuration: its digest and the names of its blocks."""
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
    """An experiment's evaluation block, the seed of its samples, and the rows to leave out.

    These are test rows that decided something while training: ``watched`` says how many.
    """
    e = configuration.experiments[experiment]
    watched = e.federation.evaluate_rows if e.federation.selects_model_on_server else 0
    return e.evaluation.model_dump(mode="json") | {"seed": configuration.seed, "watched": watched}


def report(configuration: Configuration) -> dict[str, Any]:
    """The report's block, and all that the experiments of this run were made from."""
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
    """SHA-256 of everything that an experiment's adapter depends on."""
    used = _dump_used_blocks(configuration, [experiment])
    for key in ("baselines", "evaluation"):
        del used["experiments"][experiment][key]
    return compute_json_sha256({"seed": configuration.seed, **used})


def _dump_used_blocks(configuration: Configuration, experiments: list[str]) -> dict[str, Any]:
    """The blocks that these experiments stand on."""
    chosen: list[ExperimentSettings] = [configuration.experiments[name] for name in experiments]
    names = {
        "models": {e.model for e in chosen},
        "datasets": expand_mixtures(
            configuration, {configuration.partitions[e.partition].dataset for e in chosen}
        ),
        "partitions": {e.partition for e in chosen},
        "preprocessing": {e.preprocessing for e in chosen},
        "experiments": set(experiments),
    }
    return {
        section: {
            n: getattr(configuration, section)[n].model_dump(mode="json") for n in sorted(wanted)
        }
        for section, wanted in names.items()
    }


def expand_mixtures(configuration: Configuration, names: set[str]) -> set[str]:
    """These data sets and those that they are mixed from."""
    members = {m for n in names for m in getattr(configuration.datasets[n].source, "datasets", [])}
    return names | (expand_mixtures(configuration, members) if members else set())
