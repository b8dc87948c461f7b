# The few helpers that the rules share: configuration in, paths and code out.
import inspect
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "workflow_scripts"))

from blossomtune.config import stages
from blossomtune.config.load import ConfigurationError, load
from blossomtune.files import canonical
from blossomtune.library import sources
from blossomtune.step import PARENT

try:
    CONFIG = load(config)
except ConfigurationError as error:
    raise WorkflowError(str(error)) from None

# A step ends when this process does, however that ended.
os.environ[PARENT] = str(os.getpid())


wildcard_constraints:
    model=r"[^/]+",
    dataset=r"[^/]+",
    partition=r"[^/]+",
    preprocessing=r"[^/]+",
    experiment=r"[^/]+",


def settings(stage):
    """A function of the wildcards: exactly what this stage uses of the configuration, as JSON."""
    provider = getattr(stages, stage)
    names = list(inspect.signature(provider).parameters)[1:]

    def of(wildcards):
        return canonical(provider(CONFIG, *(wildcards[name] for name in names)))

    return of


def local_source(section, wildcard):
    """A function of the wildcards: the local files that a block reads, so that a change counts."""

    def of(wildcards):
        source = getattr(CONFIG, section)[wildcards[wildcard]].source
        if source.kind != "path":
            return []
        inside = [str(f) for f in Path(source.path).rglob("*") if f.is_file()]
        return sorted(inside) or [source.path]

    return of


def blocks(name):
    """The names of the blocks that an experiment stands on."""
    chosen = CONFIG.experiments[name]
    return {
        "model": chosen.model,
        "partition": chosen.partition,
        "preprocessing": chosen.preprocessing,
        "dataset": CONFIG.partitions[chosen.partition].dataset,
    }


def experiment(pattern):
    """A function of the wildcards: `pattern` filled with the names of an experiment's blocks."""

    def of(wildcards):
        return pattern.format(**blocks(wildcards.experiment))

    return of


def every(pattern):
    """`pattern` filled for all experiments of this run, each path once."""
    return sorted({pattern.format(**blocks(name)) for name in CONFIG.run})


def figure(name, title):
    """One figure of every experiment, for Snakemake's own report as well."""
    return report(
        expand(
            f"results/report/figures/{{experiment}}/{name}.svg", experiment=CONFIG.run
        ),
        caption=f"report/{name}.rst",
        category="Figures",
        subcategory=title,
    )


def partition_dataset(wildcards):
    """The directory of the data set that a partition cuts."""
    return f"results/datasets/{CONFIG.partitions[wildcards.partition].dataset}"


def client_threads(wildcards):
    """Cores that an experiment's federation can use: all clients side by side."""
    chosen = CONFIG.experiments[wildcards.experiment]
    clients = CONFIG.partitions[chosen.partition].num_partitions
    return clients * chosen.federation.threads_per_client


def gpus(wildcards):
    """GPUs that an experiment's federation asks for: one where clients train on a GPU at all."""
    per_client = CONFIG.experiments[wildcards.experiment].federation.gpus_per_client
    return max(1, round(per_client)) if per_client else 0


MODEL = experiment("results/models/{model}")
DATASET = experiment("results/datasets/{dataset}")
PARTITION = experiment("results/partitions/{partition}")
PREPROCESSED = experiment("results/preprocessed/{partition}/{preprocessing}/{model}")
