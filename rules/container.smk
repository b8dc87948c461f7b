# The image that every stage runs in with `--sdm apptainer`, and that engine apptainer uses.
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
CONTAINER_IMAGE = str(
    expand_home(CONFIG.container.image)
    if CONFIG.container.image.startswith("~")
    else CONFIG.container.image
)
DEPLOYMENT_METHODS = workflow.deployment_settings.deployment_method
USES_CONTAINERS = DeploymentMethod.APPTAINER in DEPLOYMENT_METHODS
BUILT_IMAGE_FILES = [local(path) for path in with_checksums(BUILT_IMAGE)]
BUILT_IMAGE_INPUT = (
    BUILT_IMAGE_FILES if USES_CONTAINERS and CONTAINER_IMAGE == BUILT_IMAGE else []
)

# Snakemake hands the arguments to the jobs that it submits, so the main process sets them.
if USES_CONTAINERS and workflow.is_main_process:
    host_paths = [
        str(find_base_folder(path))
        for section in (CONFIG.models, CONFIG.datasets, CONFIG.partitions)
        for block in section.values()
        for path in list_local_paths(block)
    ]
    if not CHECKOUT.is_relative_to(Path.cwd()):
        host_paths.append(str(CHECKOUT))
    if IS_CACHED:  # results that come from the cache are links into it
        host_paths.append(os.environ[CACHE_VARIABLE])
    pip_config = Path(".snakemake/blossomtune/pip.conf")
    workflow.deployment_settings.apptainer_args = " ".join(
        [
            workflow.deployment_settings.apptainer_args,
            *host_mounts.apptainer_options(os.environ, host_paths, pip_config),
        ]
    )


if USES_CONTAINERS or any(
    getattr(engine, "image", None) == BUILT_IMAGE
    for engine in EXPERIMENT_ENGINES.values()
):

    rule container:
        """Build the image from its definition and the lock."""
        input:
            definition=checkout_file("containers/blossomtune.def"),
            lock=checkout_file("envs/requirements.lock"),
            script=script("build_image"),
        output:
            image=local(BUILT_IMAGE),
            checksums=local(f"{BUILT_IMAGE}{CHECKSUMS_SUFFIX}"),
        log:
            "results/logs/container/build.log",
        benchmark:
            "results/benchmarks/container/build.tsv"
        localrule: True  # compute nodes often have no network
        conda:
            CONDA_ENVIRONMENT
        threads: 2
        resources:
            mem_mb=4000,
            runtime=60,
        params:
            base=CONFIG.container.base,
        shell:
            "python {input.script:q} --base {params.base:q}"
            " --definition {input.definition:q} --lock {input.lock:q} --output {output.image:q} 2> {log:q}"
