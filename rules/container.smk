# The image that every stage runs in under --use-singularity; without the flag there is none, but
# for experiments on the engine apptainer.
import os

from snakemake.settings.types import DeploymentMethod

from blossomtune.config.engines import BUILT, on_host
from blossomtune.launch import host

ENGINES = {name: block.federation.engine for name, block in CONFIG.experiments.items()}
OUTSIDE = [name for name in CONFIG.run if ENGINES[name].name == "external"]
CONTAINER = CONFIG.container.image
METHODS = workflow.deployment_settings.deployment_method
IN_CONTAINERS = DeploymentMethod.APPTAINER in METHODS
IMAGE = [BUILT] if IN_CONTAINERS and CONTAINER == BUILT else []

if IN_CONTAINERS:
    sections = (CONFIG.models, CONFIG.datasets, CONFIG.partitions)
    named = [block for section in sections for block in section.values()]
    local = [path for block in named for path in local_paths(block)]
    # results that come from the between-workflow cache are links into it
    local += [os.environ[n] for n in ["SNAKEMAKE_OUTPUT_CACHE"] if n in os.environ]
    os.environ.update(host.shared(os.environ, local))


if IN_CONTAINERS or any(
    getattr(engine, "image", None) == BUILT for engine in ENGINES.values()
):

    rule container:
        """The image, from its definition and the lock: nothing of this machine is in it."""
        input:
            definition="containers/blossomtune.def",
            lock="envs/requirements.lock",
        output:
            BUILT,
        log:
            "results/logs/container/build.log",
        benchmark:
            "results/benchmarks/container/build.tsv"
        threads: 2
        resources:
            mem_mb=4000,
            runtime=60,
        params:
            base=CONFIG.container.base,
        shell:
            "python workflow_scripts/build_image.py --base {params.base:q}"
            " --definition {input.definition} --lock {input.lock} --output {output} 2> {log}"

    localrules:
        container,  # compute nodes often have no network
