rule publish:
    """Push results to the Hugging Face hub. It runs each time, and only if it is named."""
    input:
        BUILT_IMAGE_INPUT,
        results=published_results,
        history=published_histories,
        script=script("publish"),
    log:
        "results/logs/publish/publish.log",
    localrule: True
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        config=publish_config,
        results=published_folder,
        option="",
    shell:
        "python {input.script:q} --config {params.config:q} --results {params.results:q}"
        " {params.option} 2>&1 | tee {log:q}"


use rule publish as publish_dry_run with:
    log:
        "results/logs/publish/dry_run.log",
    params:
        config=publish_config,
        results=published_folder,
        option="--dry-run",
