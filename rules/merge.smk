rule merge:
    """The adapter folded into the base model, checked against base and adapter side by side."""
    input:
        BUILT_IMAGE_INPUT,
        model=MODEL,
        dataset=DATASET,
        preprocessed=PREPROCESSED,
        adapter="results/experiments/{experiment}/adapter",
        history="results/experiments/{experiment}/history.json",
        code=list_sources("merge"),
    output:
        directory("results/experiments/{experiment}/merged"),
    log:
        "results/logs/merge/{experiment}.log",
    benchmark:
        "results/benchmarks/merge/{experiment}.tsv"
    container:
        CONTAINER_IMAGE
    threads: 2
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        config=stage_config("merge"),
    shell:
        "python workflow_scripts/merge.py --config {params.config:q} --model {input.model}"
        " --adapter {input.adapter} --preprocessed {input.preprocessed}"
        " --dataset {input.dataset} --history {input.history} --output {output} 2> {log}"
