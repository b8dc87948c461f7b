# A checkpoint, so that the downloads are printed before the first of them starts.
checkpoint plan_downloads:
    """Print what the run downloads, with sizes."""
    input:
        BUILT_IMAGE_INPUT,
        script=script("plan_downloads"),
        code=library_sources("plan_downloads"),
    output:
        "results/downloads.json",
    log:
        "results/logs/plan/downloads.log",
    benchmark:
        "results/benchmarks/plan/downloads.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("plan_downloads"),
        config=stage_config("plan_downloads"),
    shell:
        "python {input.script:q} --config {params.config:q} --output {output:q} 2>&1 | tee {log:q}"


rule plan:
    """Print what the run needs: memory, disk and time. Nothing is trained but a measured step."""
    input:
        BUILT_IMAGE_INPUT,
        downloads="results/downloads.json",
        models=after_downloads("results/models/{model}"),
        datasets=after_downloads("results/datasets/{dataset}"),
        partitions=after_downloads("results/partitions/{partition}"),
        preprocessed=after_downloads(
            "results/preprocessed/{partition}/{preprocessing}/{model}"
        ),
        script=script("plan"),
    log:
        "results/logs/plan/plan.log",
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: plan_threads
    resources:
        mem_mb=16000,
        runtime=60,
    params:
        config=stage_config("plan"),
        results=planned_results,
        cores=planned_cores,
        limits=cluster_limits,
    shell:
        "python {input.script:q} --config {params.config:q} --results {params.results:q}"
        " --output {params.results:q}/plan.json --cores {params.cores} --limits {params.limits:q}"
        " 2>&1 | tee {log:q}"
