rule merge:
    """Merge the adapter into the base model, and check that both give the same output."""
    input:
        BUILT_IMAGE_INPUT,
        model=MODEL,
        dataset=DATASET,
        preprocessed=PREPROCESSED,
        adapter="results/experiments/{experiment}/adapter",
        history="results/experiments/{experiment}/history.json",
        script=script("merge"),
        code=library_sources("merge"),
    output:
        directory("results/experiments/{experiment}/merged"),
    log:
        "results/logs/merge/{experiment}.log",
    benchmark:
        "results/benchmarks/merge/{experiment}.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 2
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        config=stage_config("merge"),
    shell:
        "python {input.script:q} --config {params.config:q} --model {input.model:q}"
        " --adapter {input.adapter:q} --preprocessed {input.preprocessed:q}"
        " --dataset {input.dataset:q} --history {input.history:q} --output {output:q} 2> {log:q}"
