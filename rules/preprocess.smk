rule preprocess:
    """Render rows by templates, tokenize them, and mask all but the completion."""
    input:
        BUILT_IMAGE_INPUT,
        model="results/models/{model}",
        dataset=partition_dataset,
        partition="results/partitions/{partition}",
        script=script("preprocess"),
        code=library_sources("preprocess"),
    output:
        directory("results/preprocessed/{partition}/{preprocessing}/{model}"),
    log:
        "results/logs/preprocess/{partition}/{preprocessing}/{model}.log",
    cache: IS_CACHED
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 8
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        config=stage_config("preprocess"),
        results=results_folder("preprocessed/{partition}/{preprocessing}/{model}"),
    shell:
        "python {input.script:q} --config {params.config:q} --model {input.model:q}"
        " --dataset {input.dataset:q} --partition {input.partition:q} --output {output:q}"
        " --cores {threads}"
        " --benchmark {params.results:q}/benchmarks/preprocess/{wildcards.partition}/{wildcards.preprocessing}/{wildcards.model}.tsv 2> {log:q}"
