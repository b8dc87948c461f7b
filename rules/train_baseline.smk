rule train_baseline:
    """Take the same steps without federation: on pooled rows, or on one client's rows."""
    input:
        BUILT_IMAGE_INPUT,
        model=MODEL,
        partition=PARTITION,
        preprocessed=PREPROCESSED,
        no_leaks=refused_benchmark_leaks,
        script=script("train_baseline"),
        code=library_sources("train_baseline"),
    output:
        checksums="results/experiments/{experiment}/baselines/{baseline}/adapter.checksums.json",
        adapter=directory(
            "results/experiments/{experiment}/baselines/{baseline}/adapter"
        ),
        history="results/experiments/{experiment}/baselines/{baseline}/history.json",
    log:
        "results/logs/train_baseline/{experiment}/{baseline}.log",
    benchmark:
        "results/benchmarks/train_baseline/{experiment}/{baseline}.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: baseline_threads
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=baseline_gpus,
    params:
        code=code_digest("train_baseline"),
        config=stage_config("train_baseline"),
        results=results_folder("experiments/{experiment}/baselines/{baseline}/adapter"),
    shell:
        "python {input.script:q} --config {params.config:q} --name {wildcards.baseline}"
        " --model {input.model[0]:q} --partition {input.partition[0]:q}"
        " --preprocessed {input.preprocessed[0]:q} --adapter {output.adapter:q}"
        " --history {output.history:q}"
        " --checkpoints {params.results:q}/checkpoints/{wildcards.experiment}/baselines/{wildcards.baseline}"
        " 2>&1 | tee {log:q}"
