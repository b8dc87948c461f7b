rule control:
    """A federation's steps without it: on all rows pooled, or on one client's alone."""
    input:
        IMAGE,
        model=MODEL,
        partition=PARTITION,
        preprocessed=PREPROCESSED,
        code=sources("control"),
    output:
        adapter=directory("results/experiments/{experiment}/controls/{control}/adapter"),
        history="results/experiments/{experiment}/controls/{control}/history.json",
    log:
        "results/logs/control/{experiment}/{control}.log",
    benchmark:
        "results/benchmarks/control/{experiment}/{control}.tsv"
    container:
        CONTAINER
    threads: control_threads
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=control_gpus,
    params:
        config=settings("control"),
    shell:
        "python workflow_scripts/control.py --config {params.config:q} --name {wildcards.control}"
        " --model {input.model} --partition {input.partition}"
        " --preprocessed {input.preprocessed} --adapter {output.adapter}"
        " --history {output.history}"
        " --checkpoints results/checkpoints/{wildcards.experiment}/controls/{wildcards.control}"
        " 2>&1 | tee {log}"
