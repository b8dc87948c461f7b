rule train_baseline:
    """A federation's steps without it: on all rows pooled, or on one client's alone."""
    input:
        BUILT_IMAGE_INPUT,
        model=MODEL,
        partition=PARTITION,
        preprocessed=PREPROCESSED,
        code=list_sources("train_baseline"),
    output:
        adapter=directory(
            "results/experiments/{experiment}/baselines/{baseline}/adapter"
        ),
        history="results/experiments/{experiment}/baselines/{baseline}/history.json",
    log:
        "results/logs/train_baseline/{experiment}/{baseline}.log",
    benchmark:
        "results/benchmarks/train_baseline/{experiment}/{baseline}.tsv"
    container:
        CONTAINER_IMAGE
    threads: baseline_threads
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=baseline_gpus,
    params:
        config=stage_config("train_baseline"),
    shell:
        "python workflow_scripts/train_baseline.py --config {params.config:q} --name {wildcards.baseline}"
        " --model {input.model} --partition {input.partition}"
        " --preprocessed {input.preprocessed} --adapter {output.adapter}"
        " --history {output.history}"
        " --checkpoints results/checkpoints/{wildcards.experiment}/baselines/{wildcards.baseline}"
        " 2>&1 | tee {log}"
