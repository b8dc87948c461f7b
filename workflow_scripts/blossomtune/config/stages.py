"""What of the configuration each stage uses: nothing more, so that nothing else reruns it.

Every function returns plain JSON values. Snakemake gets them as one canonical string
(``blossomtune.files.canonical``) and reruns a stage exactly when that string changes.
"""

from typing import Any

from blossomtune.config.blocks import Configuration
from blossomtune.config.experiments import Experiment
from blossomtune.files import digest


def fetch_model(c: Configuration, model: str) -> dict[str, Any]:
    """A model's source."""
    return c.models[model].model_dump(mode="json")


def download(c: Configuration, dataset: str) -> dict[str, Any]:
    """A data set's block, and the seed of its test split."""
    return c.datasets[dataset].model_dump(mode="json") | {"seed": c.seed}


def partition(c: Configuration, partition: str) -> dict[str, Any]:
    """A partition's block, and the seed of its shuffling.

    Where the clients have their shards already, also how files become rows.
    """
    block = c.partitions[partition]
    told = block.model_dump(mode="json") | {"seed": c.seed}
    if block.partitioner == "local":
        keys = {"format", "rename", "derive", "filter", "columns"}
        keys |= {"deduplicate_by", "deduplicate_as"}
        told["reading"] = c.datasets[block.dataset].model_dump(mode="json", include=keys)
    return told


def preprocess(c: Configuration, preprocessing: str) -> dict[str, Any]:
    """A preprocessing block."""
    return c.preprocessing[preprocessing].model_dump(mode="json")


def federate(c: Configuration, experiment: str) -> dict[str, Any]:
    """Adapter, training and federation of an experiment."""
    e = c.experiments[experiment]
    return e.model_dump(mode="json", include={"lora", "training", "federation"}) | {"seed": c.seed}


def invite(c: Configuration, experiment: str) -> dict[str, Any]:
    """What clients that run their own SuperNodes have to know of an experiment."""
    e = c.experiments[experiment]
    told = federate(c, experiment)
    if told["federation"]["privacy"]:
        told["federation"]["privacy"]["secret"] = None
    return {
        "model": fetch_model(c, e.model),
        "model_name": e.model,
        "federate": told,
        "partition": partition(c, e.partition),
        "preprocessing": preprocess(c, e.preprocessing),
    }


def control(c: Configuration, experiment: str) -> dict[str, Any]:
    """What of an experiment its controls share: adapter and training, and how many steps."""
    e = c.experiments[experiment]
    return e.model_dump(mode="json", include={"lora", "training"}) | {
        "seed": c.seed,
        "rounds": e.federation.rounds,
        "fraction_train": e.federation.fraction_train,
        "gpu": e.federation.gpus_per_client != 0,
        "threads": e.controls.threads,
    }


def merge(c: Configuration, experiment: str) -> dict[str, Any]:
    """What the model card says of the configuration: its digest and the names of its blocks."""
    e = c.experiments[experiment]
    names = {"model": e.model, "partition": e.partition, "preprocessing": e.preprocessing}
    return {
        "experiment": experiment,
        **names,
        "strategy": e.federation.strategy.name,
        "aggregation": e.federation.aggregation,
        "digest": experiment_digest(c, experiment),
    }


def evaluate(c: Configuration, experiment: str) -> dict[str, Any]:
    """An experiment's evaluation block, the seed of its samples, and the rows to leave out.

    These are test rows that decided something while training: ``watched`` says how many.
    """
    e = c.experiments[experiment]
    watched = e.federation.evaluate_rows if e.federation.watches_server else 0
    return e.evaluation.model_dump(mode="json") | {"seed": c.seed, "watched": watched}


def report(c: Configuration) -> dict[str, Any]:
    """The report's block, and all that the experiments of this run were made from."""
    return {
        "report": c.report.model_dump(mode="json"),
        "configuration": {"seed": c.seed, "run": c.run, **_used(c, c.run)},
        "digests": {name: experiment_digest(c, name) for name in c.run},
    }


def experiment_digest(c: Configuration, experiment: str) -> str:
    """SHA-256 of everything that an experiment's adapter depends on."""
    used = _used(c, [experiment])
    for key in ("controls", "evaluation"):
        del used["experiments"][experiment][key]
    return digest({"seed": c.seed, **used})


def _used(c: Configuration, experiments: list[str]) -> dict[str, Any]:
    """The blocks that these experiments stand on."""
    chosen: list[Experiment] = [c.experiments[name] for name in experiments]
    names = {
        "models": {e.model for e in chosen},
        "datasets": datasets(c, {c.partitions[e.partition].dataset for e in chosen}),
        "partitions": {e.partition for e in chosen},
        "preprocessing": {e.preprocessing for e in chosen},
        "experiments": set(experiments),
    }
    return {
        section: {n: getattr(c, section)[n].model_dump(mode="json") for n in sorted(wanted)}
        for section, wanted in names.items()
    }


def datasets(c: Configuration, names: set[str]) -> set[str]:
    """These data sets and those that they are mixed from."""
    members = {m for n in names for m in getattr(c.datasets[n].source, "datasets", [])}
    return names | (datasets(c, members) if members else set())
