rule write_run:
    """Write a run file, to train without Snakemake; only on request."""
    input:
        BUILT_IMAGE_INPUT,
        model=MODEL,
        partition=PARTITION,
        preprocessed=PREPROCESSED,
        script=script("write_run"),
        code=library_sources("write_run"),
    output:
        "results/runs/{experiment}/run.json",
    log:
        "results/logs/write_run/{experiment}.log",
    benchmark:
        "results/benchmarks/write_run/{experiment}.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("write_run"),
        config=stage_config("federate"),
    shell:
        "python {input.script:q} --config {params.config:q} --model {input.model[0]:q}"
        " --partition {input.partition[0]:q} --preprocessed {input.preprocessed[0]:q}"
        " --output {output:q} 2>&1 | tee {log:q}"
