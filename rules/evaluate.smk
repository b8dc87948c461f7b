rule evaluate:
    """Base, federated model and controls on the same rows that no client has seen."""
    input:
        BUILT_IMAGE_INPUT,
        base=MODEL,
        merged="results/experiments/{experiment}/merged",
        dataset=DATASET,
        partition=PARTITION,
        preprocessed=PREPROCESSED,
        baselines=baseline_adapters,
        code=list_sources("evaluate"),
    output:
        "results/experiments/{experiment}/metrics.json",
    log:
        "results/logs/evaluate/{experiment}.log",
    benchmark:
        "results/benchmarks/evaluate/{experiment}.tsv"
    container:
        CONTAINER_IMAGE
    threads: 8
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        config=stage_config("evaluate"),
        baselines=baseline_arguments,
    shell:
        "python workflow_scripts/evaluate.py --config {params.config:q} --base {input.base}"
        " --merged {input.merged} {params.baselines} --preprocessed {input.preprocessed}"
        " --partition {input.partition} --dataset {input.dataset}"
        " --output {output} --cores {threads} 2> {log}"
