# Helpers that the rules share: configuration in, paths and code out.
import atexit
import inspect
import os
import shlex
import sys
import time
from pathlib import Path

from snakemake.caching import LOCATION_ENVVAR as CACHE_VARIABLE
from snakemake.exceptions import WorkflowError

if str(CHECKOUT / "workflow_scripts") not in sys.path:
    sys.path.insert(0, str(CHECKOUT / "workflow_scripts"))

from blossomtune.artifacts.checksums import CHECKSUMS_SUFFIX
from blossomtune.config import stage_inputs
from blossomtune.config.load import ConfigurationError, load_configuration
from blossomtune.config.stage_files import CONFIG_DIR, write_stage_config
from blossomtune.code_dependencies import (
    compute_sources_digest as code_digest,
    list_sources,
)
from blossomtune.data.sources.local_paths import find_base_folder, find_local_paths
from blossomtune.errors import UserError
from blossomtune.files import expand_home, to_canonical_json

try:
    CONFIG = load_configuration(config)
except ConfigurationError as error:
    raise WorkflowError(str(error)) from None

STARTED = time.time()
CONDA_ENVIRONMENT = CHECKOUT / "envs/environment.yaml"

# Snakemake does not cache rules with a benchmark: those that it may cache have `cache: IS_CACHED`, and
# their scripts write the benchmark file.
IS_CACHED = (
    workflow.workflow_settings.cache is not None and CACHE_VARIABLE in os.environ
)
if IS_CACHED:
    min_version("9.20")  # caches rules with several outputs
    cache_dir = Path(os.environ[CACHE_VARIABLE])
    if not (cache_dir.is_absolute() and cache_dir.is_dir()):
        raise WorkflowError(
            f"{CACHE_VARIABLE}: '{cache_dir}' is not allowed; allowed: the absolute path of a folder "
            "that exists, since results become links to it"
        )


wildcard_constraints:
    model=r"[^/]+",
    dataset=r"[^/]+",
    partition=r"[^/]+",
    preprocessing=r"[^/]+",
    experiment=r"[^/]+",
    baseline=r"centralised|local_\d+",
    benchmarked=r"models/[^/]+|experiments/[^/]+/(merged|baselines/[^/]+)",
    settings=r"[0-9a-f]+",


def checkout_file(name):
    """Return the path of a file of the checkout, relative if below the working directory.

    `local` exempts it from `prefix:` of a module and from storage plugins.
    """
    path = CHECKOUT / name
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return local(str(path))


def list_checksums(folders):
    """Return the paths of the checksums of stages' folders."""
    return [f"{folder}{CHECKSUMS_SUFFIX}" for folder in folders]


def with_checksums(*folders):
    """Return inputs: the folders that stages wrote, then their checksums.

    Snakemake compares folders by time, so they are `ancient`. A change of the checksums' content
    reruns what reads the folder.
    """
    return [*map(ancient, folders), *list_checksums(folders)]


def shorten_job_lines():
    """Print one line per job instead of its inputs and outputs, which a dry run shows."""
    for stage in workflow.rules:
        stage.message = f"{stage.name} {{wildcards}}: {stage.docstring}"


def show_summary():
    """Print the results below Snakemake's own last lines, if this run made them."""
    page, summary, *_ = map(Path, rules.report.output)
    lines = [f"preview: {path}" for path in rules.preview.input if is_new(Path(path))]
    if is_new(summary):
        lines.append(f"{summary.read_text()}report: {page}")
    if lines:
        atexit.register(print, "\n" + "\n".join(lines))


def is_new(file):
    """Return whether this run wrote a file."""
    return file.is_file() and file.stat().st_mtime >= STARTED


def script(stage):
    """Return the path of a stage's command-line script."""
    return checkout_file(f"workflow_scripts/{stage}.py")


def library_sources(stage):
    """Return the library's files that a stage imports; a change of their content reruns it."""
    paths = map(checkout_file, list_sources(stage))
    return [path for path in paths if path != script(stage)]


def stage_config(stage):
    """Return a params function: the file with exactly the configuration that a stage depends on.

    The file's name is a digest of its content, so another content reruns the stage.
    """
    select = getattr(stage_inputs, stage)
    names = list(inspect.signature(select).parameters)[1:]

    def config_file(wildcards):
        content = select(CONFIG, *(wildcards[name] for name in names))
        return write_stage_config(stage, content)

    return config_file


def results_folder(pattern):
    """Return a params function: the results folder, which `prefix:` of a module may have moved.

    `pattern` is the path of the first output below it.
    """

    def folder(wildcards, output):
        return str(Path(output[0]).parents[len(Path(pattern).parts) - 1])

    return folder


def list_local_paths(block):
    """Return the local paths and patterns in a block of a model, a data set or a partition."""
    test = getattr(block, "test", None)
    sources = [getattr(block, "source", None), getattr(test, "source", None)]
    named = [source.path for source in sources if source and source.kind == "path"]
    return [*named, *(getattr(block, "paths", None) or {}).values()]


def local_source_files(section, wildcard):
    """Return an input function: the local files that a block reads; a change reruns the stage."""

    def files(wildcards):
        name = wildcards[wildcard]
        paths = set()
        for named in list_local_paths(getattr(CONFIG, section)[name]):
            try:
                matches = find_local_paths(named)
            except UserError as error:
                raise WorkflowError(f"{section}.{name}: {error}") from None
            for path in matches:
                inside = [path] if path.is_file() else path.rglob("*")
                paths |= {str(file) for file in inside if file.is_file()}
        return sorted(paths)

    return files


def experiment_blocks(name):
    """Return the names of the blocks that an experiment refers to, by wildcard."""
    chosen = CONFIG.experiments[name]
    return {
        "model": chosen.model,
        "partition": chosen.partition,
        "preprocessing": chosen.preprocessing,
        "dataset": CONFIG.partitions[chosen.partition].dataset,
    }


def experiment_folder(pattern):
    """Return an input function: the folder that an experiment reads, with its checksums."""

    def paths(wildcards):
        return with_checksums(pattern.format(**experiment_blocks(wildcards.experiment)))

    return paths


def expand_run(pattern):
    """Return `pattern`, filled for all experiments of this run, each path once."""
    return sorted({pattern.format(**experiment_blocks(name)) for name in CONFIG.run})


def judged_experiments(pattern):
    """Return `pattern`, filled for the experiments of this run with `evaluation.judge`."""
    return [
        pattern.format(experiment=name)
        for name in CONFIG.run
        if CONFIG.experiments[name].evaluation.judge
    ]


def after_downloads(pattern):
    """Return an input function: folders of this run, known when its downloads are printed."""

    def folders(wildcards):
        checkpoints.plan_downloads.get()
        return with_checksums(*expand_run(pattern))

    return folders


def external_runs(pattern):
    """Return `pattern`, filled for the experiments of this run with engine `external`."""
    return sorted(
        {pattern.format(**experiment_blocks(name)) for name in EXTERNAL_EXPERIMENTS}
    )


def client_bundle_config(wildcards):
    """Return the file with the settings that clients of engine `external` get, by experiment."""
    settings = {
        name: stage_inputs.invite(CONFIG, name) for name in EXTERNAL_EXPERIMENTS
    }
    return write_stage_config("invite", settings)


def client_bundle_results(wildcards, input):
    """Return the results folder of rule invite, which has no output."""
    return str(Path(input.models[0]).parents[1]) if input.models else "results"


def planned_results(wildcards, input):
    """Return the results folder of rule plan, which has no output."""
    return str(Path(input.downloads).parent)


def report_figure(name, title):
    """Return the files of a figure, one per experiment, marked for Snakemake's own report."""
    return report(
        expand(
            f"results/report/figures/{{experiment}}/{name}.svg", experiment=CONFIG.run
        ),
        caption=f"../report/{name}.rst",
        category="Figures",
        subcategory=title,
    )


def input_names(key):
    """Return a params function: the names of an input's files, in order.

    The key of Snakemake's cache has the checksums of a job's inputs, sorted and without names.
    """

    def names(wildcards, input):
        return to_canonical_json(list(input[key]))

    return names


def mixture_members(wildcards):
    """Return the folders of the data sets that a mixture draws from."""
    source = CONFIG.datasets[wildcards.dataset].source
    return [
        ancient(f"results/datasets/{name}") for name in getattr(source, "datasets", [])
    ]


def mixture_member_checksums(wildcards):
    """Return the checksums of the data sets that a mixture draws from."""
    return list_checksums(mixture_members(wildcards))


def mixture_member_configs(wildcards):
    """Return the configuration of the data sets below a mixture, by name, for the cache's key."""
    names = stage_inputs.expand_mixtures(CONFIG, {wildcards.dataset}) - {
        wildcards.dataset
    }
    return to_canonical_json(
        {name: stage_inputs.download(CONFIG, name) for name in names}
    )


def partition_dataset(wildcards):
    """Return the folder, with its checksums, of the data set that a partition assigns."""
    dataset = CONFIG.partitions[wildcards.partition].dataset
    return with_checksums(f"results/datasets/{dataset}")


def list_baselines(experiment):
    """Return the names of an experiment's baselines."""
    chosen = CONFIG.experiments[experiment]
    names = ["centralised"] if chosen.baselines.centralised else []
    if chosen.baselines.local:
        clients = CONFIG.partitions[chosen.partition].num_partitions
        names += [f"local_{client}" for client in range(clients)]
    return names


def baseline_adapters(wildcards):
    """Return the adapters of an experiment's baselines, then their checksums."""
    folder = f"results/experiments/{wildcards.experiment}/baselines"
    names = list_baselines(wildcards.experiment)
    return with_checksums(*(f"{folder}/{name}/adapter" for name in names))


def baseline_arguments(wildcards, input):
    """Return the options of evaluate.py that name each baseline's adapter."""
    adapters = input.baselines[: len(input.baselines) // 2]
    named = [f"{Path(path).parent.name}={path}" for path in adapters]
    return [f"--baseline {shlex.quote(argument)}" for argument in named]


MODEL_FOLDER = "results/models/{model}"
DATASET_FOLDER = "results/datasets/{dataset}"
PREPROCESSED_FOLDER = "results/preprocessed/{partition}/{preprocessing}/{model}"
CARD_INPUTS = (MODEL_FOLDER, DATASET_FOLDER, PREPROCESSED_FOLDER)
MODEL = experiment_folder(MODEL_FOLDER)
DATASET = experiment_folder(DATASET_FOLDER)
PARTITION = experiment_folder("results/partitions/{partition}")
PREPROCESSED = experiment_folder(PREPROCESSED_FOLDER)
