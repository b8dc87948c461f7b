rule evaluate:
    """The base and the federated model on the same rows that no client has seen."""
    input:
        IMAGE,
        base=MODEL,
        merged="results/experiments/{experiment}/merged",
        dataset=DATASET,
        preprocessed=PREPROCESSED,
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
    shell:
        "python workflow_scripts/evaluate.py --config {params.config:q} --base {input.base}"
        " --merged {input.merged} --preprocessed {input.preprocessed}"
        " --dataset {input.dataset} --output {output} --cores {threads} 2> {log}"
