# The image that every stage runs in under --use-singularity; without the flag there is none, but
# for experiments on the engine apptainer.
import os

from snakemake.settings.types import DeploymentMethod

from blossomtune.config.engines import BUILT_IMAGE, starts_containers
from blossomtune.deployment import host_mounts

EXPERIMENT_ENGINES = {
    name: block.federation.engine for name, block in CONFIG.experiments.items()
}
EXTERNAL_EXPERIMENTS = [
    name for name in CONFIG.run if EXPERIMENT_ENGINES[name].name == "external"
]
CONTAINER_IMAGE = CONFIG.container.image
DEPLOYMENT_METHODS = workflow.deployment_settings.deployment_method
USES_CONTAINERS = DeploymentMethod.APPTAINER in DEPLOYMENT_METHODS
BUILT_IMAGE_INPUT = (
    [BUILT_IMAGE] if USES_CONTAINERS and CONTAINER_IMAGE == BUILT_IMAGE else []
)

if USES_CONTAINERS:
    local_sections = (CONFIG.models, CONFIG.datasets, CONFIG.partitions)
    configured_blocks = [
        block for section in local_sections for block in section.values()
    ]
    host_paths = [
        path for block in configured_blocks for path in list_local_paths(block)
    ]
    # results that come from the between-workflow cache are links into it
    host_paths += [os.environ[n] for n in ["SNAKEMAKE_OUTPUT_CACHE"] if n in os.environ]
    os.environ.update(host_mounts.container_environment(os.environ, host_paths))


if USES_CONTAINERS or any(
    getattr(engine, "image", None) == BUILT_IMAGE
    for engine in EXPERIMENT_ENGINES.values()
):

    rule container:
        """The image, from its definition and the lock: nothing of this machine is in it."""
        input:
            definition="containers/blossomtune.def",
            lock="envs/requirements.lock",
        output:
            BUILT_IMAGE,
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
