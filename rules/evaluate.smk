rule evaluate:
    """Base, federated model and controls on the same rows that no client has seen."""
    input:
        IMAGE,
        base=MODEL,
        merged="results/experiments/{experiment}/merged",
        dataset=DATASET,
        partition=PARTITION,
        preprocessed=PREPROCESSED,
        controls=controls,
        code=sources("evaluate"),
    output:
        "results/experiments/{experiment}/metrics.json",
    log:
        "results/logs/evaluate/{experiment}.log",
    benchmark:
        "results/benchmarks/evaluate/{experiment}.tsv"
    container:
        CONTAINER
    threads: 8
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        config=settings("evaluate"),
        controls=named_controls,
    shell:
        "python workflow_scripts/evaluate.py --config {params.config:q} --base {input.base}"
        " --merged {input.merged} {params.controls} --preprocessed {input.preprocessed}"
        " --partition {input.partition} --dataset {input.dataset}"
        " --output {output} --cores {threads} 2> {log}"
