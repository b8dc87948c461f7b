# The trackers of `tracking`. federate logs each round as it ends; this rule logs what they lack.
from blossomtune.config.tracking import require_packages

# In a container or a conda environment, the packages are those of the lock.
if not DEPLOYMENT_METHODS:
    try:
        require_packages(CONFIG.tracking)
    except UserError as error:
        raise WorkflowError(str(error)) from None

# A resource of federate, since a change of a parameter would train again.
TRACKERS_FILE = stage_config("track")(None) if CONFIG.tracking else "none"
TRACKED = [
    f"results/tracking/{name}.done" for name in (CONFIG.run if CONFIG.tracking else [])
]


rule track:
    """Log the rounds to the trackers."""
    input:
        BUILT_IMAGE_INPUT,
        history="results/experiments/{experiment}/history.json",
        script=script("track"),
        code=library_sources("track"),
    output:
        touch("results/tracking/{experiment}.done"),
    log:
        "results/logs/track/{experiment}.log",
    benchmark:
        "results/benchmarks/track/{experiment}.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code_digest("track"),
        config=stage_config("track"),
        results=results_folder("tracking/{experiment}.done"),
    shell:
        "python {input.script:q} --config {params.config:q} --rounds {input.history:q}"
        " --folder {params.results:q}/tracking --experiment {wildcards.experiment:q}"
        " 2> {log:q} < /dev/null"
