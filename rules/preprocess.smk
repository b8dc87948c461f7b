rule preprocess:
    """Rows rendered by templates, tokenised, and masked so that the loss is on the completion."""
    input:
        BUILT_IMAGE_INPUT,
        model="results/models/{model}",
        dataset=partition_dataset,
        partition="results/partitions/{partition}",
        code=list_sources("preprocess"),
    output:
        directory("results/preprocessed/{partition}/{preprocessing}/{model}"),
    log:
        "results/logs/preprocess/{partition}/{preprocessing}/{model}.log",
    benchmark:
        "results/benchmarks/preprocess/{partition}/{preprocessing}/{model}.tsv"
    container:
        CONTAINER_IMAGE
    threads: 8
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        config=stage_config("preprocess"),
    shell:
        "python workflow_scripts/preprocess.py --config {params.config:q} --model {input.model}"
        " --dataset {input.dataset} --partition {input.partition} --output {output}"
        " --cores {threads} 2> {log}"
