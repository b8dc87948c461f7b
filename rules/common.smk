# The few helpers that the rules share: configuration in, paths and code out.
import inspect
import math
import os
import sys
from pathlib import Path

from snakemake.caching import LOCATION_ENVVAR as CACHE_VARIABLE
from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "workflow_scripts"))

from blossomtune.config import stage_inputs
from blossomtune.config.load import ConfigurationError, load_configuration
from blossomtune.files import to_canonical_json
from blossomtune.code_dependencies import list_sources
from blossomtune.cli import PARENT_PID_VARIABLE

try:
    CONFIG = load_configuration(config)
except ConfigurationError as error:
    raise WorkflowError(str(error)) from None

# A step ends when this process does, however that ended.
os.environ[PARENT_PID_VARIABLE] = str(os.getpid())

# Results that are in Snakemake's between-workflow cache are links, so its path starts at the root.
CACHE_DIR = workflow.workflow_settings.cache is not None and os.environ.get(
    CACHE_VARIABLE
)
if CACHE_DIR:
    os.environ[CACHE_VARIABLE] = str(Path(CACHE_DIR).absolute())
    Path(CACHE_DIR).mkdir(parents=True, exist_ok=True)


wildcard_constraints:
    model=r"[^/]+",
    dataset=r"[^/]+",
    partition=r"[^/]+",
    preprocessing=r"[^/]+",
    experiment=r"[^/]+",
    baseline=r"centralised|local_\d+",


def stage_config(stage):
    """A function of the wildcards: exactly what this stage uses of the configuration, as JSON."""
    provider = getattr(stage_inputs, stage)
    names = list(inspect.signature(provider).parameters)[1:]

    def of(wildcards):
        return to_canonical_json(provider(CONFIG, *(wildcards[name] for name in names)))

    return of


def list_local_paths(block):
    """The paths on this machine that a block of a model, a data set or a partition names."""
    test = getattr(block, "test", None)
    sources = [getattr(block, "source", None), getattr(test, "source", None)]
    named = [source.path for source in sources if source and source.kind == "path"]
    return [*named, *(getattr(block, "paths", None) or {}).values()]


def local_source_files(section, wildcard):
    """A function of the wildcards: the local files that a block reads, so that a change counts."""

    def of(wildcards):
        name = wildcards[wildcard]
        found = set()
        for path in map(Path, list_local_paths(getattr(CONFIG, section)[name])):
            if not path.exists():
                raise WorkflowError(f"{section}.{name}: '{path}' is not there")
            inside = [path] if path.is_file() else path.rglob("*")
            found |= {str(file) for file in inside if file.is_file()}
        return sorted(found)

    return of


def experiment_blocks(name):
    """The names of the blocks that an experiment stands on."""
    chosen = CONFIG.experiments[name]
    return {
        "model": chosen.model,
        "partition": chosen.partition,
        "preprocessing": chosen.preprocessing,
        "dataset": CONFIG.partitions[chosen.partition].dataset,
    }


def expand_experiment(pattern):
    """A function of the wildcards: `pattern` filled with the names of an experiment's blocks."""

    def of(wildcards):
        return pattern.format(**experiment_blocks(wildcards.experiment))

    return of


def expand_run(pattern):
    """`pattern` filled for all experiments of this run, each path once."""
    return sorted({pattern.format(**experiment_blocks(name)) for name in CONFIG.run})


def external_runs(pattern):
    """`pattern` filled for the experiments of this run whose clients are with others."""
    return sorted(
        {pattern.format(**experiment_blocks(name)) for name in EXTERNAL_EXPERIMENTS}
    )


def client_bundle_configs(wildcards):
    """What the clients of these experiments are told, by experiment."""
    return to_canonical_json(
        {name: stage_inputs.invite(CONFIG, name) for name in EXTERNAL_EXPERIMENTS}
    )


def report_figure(name, title):
    """One figure of every experiment, for Snakemake's own report as well."""
    return report(
        expand(
            f"results/report/figures/{{experiment}}/{name}.svg", experiment=CONFIG.run
        ),
        caption=f"report/{name}.rst",
        category="Figures",
        subcategory=title,
    )


def input_names(key):
    """A function of wildcards and input: which of an input's files is which.

    The key of Snakemake's cache has the sums of a job's inputs, sorted and without their names.
    """

    def of(wildcards, input):
        return to_canonical_json(list(input[key]))

    return of


def mixture_members(wildcards):
    """The directories of the data sets that a mixture is made of."""
    source = CONFIG.datasets[wildcards.dataset].source
    return [f"results/datasets/{name}" for name in getattr(source, "datasets", [])]


def mixture_member_configs(wildcards):
    """What the data sets below a mixture are made from: which is which, as in `names_of`."""
    names = stage_inputs.expand_mixtures(CONFIG, {wildcards.dataset}) - {
        wildcards.dataset
    }
    return to_canonical_json(
        {name: stage_inputs.download(CONFIG, name) for name in names}
    )


def partition_dataset(wildcards):
    """The directory of the data set that a partition cuts."""
    return f"results/datasets/{CONFIG.partitions[wildcards.partition].dataset}"


def federation_nodes(wildcards):
    """Of a cluster, that an experiment's federation is spread over."""
    return getattr(EXPERIMENT_ENGINES[wildcards.experiment], "nodes", 1)


def federation_tasks(wildcards):
    """One a node; where GPUs are asked for, Slurm is not told."""
    return 0 if federation_gpus(wildcards) else federation_nodes(wildcards)


def federation_threads(wildcards):
    """Cores that an experiment's federation can use on a node: all clients side by side."""
    chosen = CONFIG.experiments[wildcards.experiment]
    clients = CONFIG.partitions[chosen.partition].num_partitions
    return (
        math.ceil(clients / federation_nodes(wildcards))
        * chosen.federation.threads_per_client
    )


def baseline_threads(wildcards):
    """Cores that one of an experiment's controls uses."""
    return CONFIG.experiments[wildcards.experiment].baselines.threads


def baseline_adapters(wildcards):
    """The adapters of an experiment's controls."""
    chosen = CONFIG.experiments[wildcards.experiment]
    names = ["centralised"] if chosen.baselines.centralised else []
    if chosen.baselines.local:
        clients = CONFIG.partitions[chosen.partition].num_partitions
        names += [f"local_{client}" for client in range(clients)]
    folder = f"results/experiments/{wildcards.experiment}/baselines"
    return [f"{folder}/{name}/adapter" for name in names]


def baseline_arguments(wildcards, input):
    """What the evaluation is told of its controls: which adapter is whose."""
    return [f"--baseline {Path(path).parent.name}={path}" for path in input.baselines]


def federation_gpus(wildcards):
    """GPUs that an experiment's federation asks for."""
    chosen = CONFIG.experiments[wildcards.experiment]
    clients = CONFIG.partitions[chosen.partition].num_partitions
    return chosen.federation.count_gpus(clients)


def baseline_gpus(wildcards):
    """One where clients train on a GPU at all."""
    return min(1, federation_gpus(wildcards))


def federation_image(wildcards):
    """The image of an experiment's engine, as a file to wait for."""
    used = getattr(EXPERIMENT_ENGINES[wildcards.experiment], "image", None)
    return sorted({*BUILT_IMAGE_INPUT, *([BUILT_IMAGE] if used == BUILT_IMAGE else [])})


def federation_container(wildcards):
    """What federate runs in: nothing, where its engine starts containers itself."""
    return (
        None
        if starts_containers(EXPERIMENT_ENGINES[wildcards.experiment])
        else CONTAINER_IMAGE
    )


MODEL = expand_experiment("results/models/{model}")
DATASET = expand_experiment("results/datasets/{dataset}")
PARTITION = expand_experiment("results/partitions/{partition}")
PREPROCESSED = expand_experiment(
    "results/preprocessed/{partition}/{preprocessing}/{model}"
)
