rule evaluate:
    """Score base model, federated model and baselines on the same held-out rows."""
    input:
        BUILT_IMAGE_INPUT,
        base=MODEL,
        merged=with_checksums("results/experiments/{experiment}/merged"),
        dataset=DATASET,
        partition=PARTITION,
        preprocessed=PREPROCESSED,
        baselines=baseline_adapters,
        script=script("evaluate"),
        code=library_sources("evaluate"),
    output:
        evaluation="results/experiments/{experiment}/evaluation.json",
        answers="results/experiments/{experiment}/answers.jsonl",
    log:
        "results/logs/evaluate/{experiment}.log",
    benchmark:
        "results/benchmarks/evaluate/{experiment}.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 8
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=evaluation_gpus,
    params:
        code=code_digest("evaluate"),
        config=stage_config("evaluate"),
        baselines=baseline_arguments,
    shell:
        "python {input.script:q} --config {params.config:q} --base {input.base[0]:q}"
        " --merged {input.merged[0]:q} {params.baselines} --preprocessed {input.preprocessed[0]:q}"
        " --partition {input.partition[0]:q} --dataset {input.dataset[0]:q}"
        " --output {output.evaluation:q} --answers {output.answers:q} --cores {threads} 2> {log:q}"
