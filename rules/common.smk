# The few helpers that the rules share: configuration in, paths and code out.
import inspect
import math
import os
import sys
from pathlib import Path

from snakemake.caching import LOCATION_ENVVAR as CACHE
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

# Results that are in Snakemake's between-workflow cache are links, so its path starts at the root.
CACHED = workflow.workflow_settings.cache is not None and os.environ.get(CACHE)
if CACHED:
    os.environ[CACHE] = str(Path(CACHED).absolute())
    Path(CACHED).mkdir(parents=True, exist_ok=True)


wildcard_constraints:
    model=r"[^/]+",
    dataset=r"[^/]+",
    partition=r"[^/]+",
    preprocessing=r"[^/]+",
    experiment=r"[^/]+",
    control=r"centralised|local_\d+",


def settings(stage):
    """A function of the wildcards: exactly what this stage uses of the configuration, as JSON."""
    provider = getattr(stages, stage)
    names = list(inspect.signature(provider).parameters)[1:]

    def of(wildcards):
        return canonical(provider(CONFIG, *(wildcards[name] for name in names)))

    return of


def local_paths(block):
    """The paths on this machine that a block of a model, a data set or a partition names."""
    test = getattr(block, "test", None)
    sources = [getattr(block, "source", None), getattr(test, "source", None)]
    named = [source.path for source in sources if source and source.kind == "path"]
    return [*named, *(getattr(block, "paths", None) or {}).values()]


def local_source(section, wildcard):
    """A function of the wildcards: the local files that a block reads, so that a change counts."""

    def of(wildcards):
        name = wildcards[wildcard]
        found = set()
        for path in map(Path, local_paths(getattr(CONFIG, section)[name])):
            if not path.exists():
                raise WorkflowError(f"{section}.{name}: '{path}' is not there")
            inside = [path] if path.is_file() else path.rglob("*")
            found |= {str(file) for file in inside if file.is_file()}
        return sorted(found)

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


def outside(pattern):
    """`pattern` filled for the experiments of this run whose clients are with others."""
    return sorted({pattern.format(**blocks(name)) for name in OUTSIDE})


def invitations(wildcards):
    """What the clients of these experiments are told, by experiment."""
    return canonical({name: stages.invite(CONFIG, name) for name in OUTSIDE})


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


def names_of(key):
    """A function of wildcards and input: which of an input's files is which.

    The key of Snakemake's cache has the sums of a job's inputs, sorted and without their names.
    """

    def of(wildcards, input):
        return canonical(list(input[key]))

    return of


def mixed_from(wildcards):
    """The directories of the data sets that a mixture is made of."""
    source = CONFIG.datasets[wildcards.dataset].source
    return [f"results/datasets/{name}" for name in getattr(source, "datasets", [])]


def member_settings(wildcards):
    """What the data sets below a mixture are made from: which is which, as in `names_of`."""
    names = stages.datasets(CONFIG, {wildcards.dataset}) - {wildcards.dataset}
    return canonical({name: stages.download(CONFIG, name) for name in names})


def partition_dataset(wildcards):
    """The directory of the data set that a partition cuts."""
    return f"results/datasets/{CONFIG.partitions[wildcards.partition].dataset}"


def nodes(wildcards):
    """Of a cluster, that an experiment's federation is spread over."""
    return getattr(ENGINES[wildcards.experiment], "nodes", 1)


def tasks(wildcards):
    """One a node; where GPUs are asked for, Slurm is not told."""
    return 0 if gpus(wildcards) else nodes(wildcards)


def client_threads(wildcards):
    """Cores that an experiment's federation can use on a node: all clients side by side."""
    chosen = CONFIG.experiments[wildcards.experiment]
    clients = CONFIG.partitions[chosen.partition].num_partitions
    return math.ceil(clients / nodes(wildcards)) * chosen.federation.threads_per_client


def control_threads(wildcards):
    """Cores that one of an experiment's controls uses."""
    return CONFIG.experiments[wildcards.experiment].controls.threads


def controls(wildcards):
    """The adapters of an experiment's controls."""
    chosen = CONFIG.experiments[wildcards.experiment]
    names = ["centralised"] if chosen.controls.centralised else []
    if chosen.controls.local:
        clients = CONFIG.partitions[chosen.partition].num_partitions
        names += [f"local_{client}" for client in range(clients)]
    folder = f"results/experiments/{wildcards.experiment}/controls"
    return [f"{folder}/{name}/adapter" for name in names]


def named_controls(wildcards, input):
    """What the evaluation is told of its controls: which adapter is whose."""
    return [f"--control {Path(path).parent.name}={path}" for path in input.controls]


def gpus(wildcards):
    """GPUs that an experiment's federation asks for."""
    chosen = CONFIG.experiments[wildcards.experiment]
    clients = CONFIG.partitions[chosen.partition].num_partitions
    return chosen.federation.gpus(clients)


def control_gpus(wildcards):
    """One where clients train on a GPU at all."""
    return min(1, gpus(wildcards))


def federate_image(wildcards):
    """The image of an experiment's engine, as a file to wait for."""
    used = getattr(ENGINES[wildcards.experiment], "image", None)
    return sorted({*IMAGE, *([BUILT] if used == BUILT else [])})


def federate_container(wildcards):
    """What federate runs in: nothing, where its engine starts containers itself."""
    return None if on_host(ENGINES[wildcards.experiment]) else CONTAINER


MODEL = experiment("results/models/{model}")
DATASET = experiment("results/datasets/{dataset}")
PARTITION = experiment("results/partitions/{partition}")
PREPROCESSED = experiment("results/preprocessed/{partition}/{preprocessing}/{model}")
