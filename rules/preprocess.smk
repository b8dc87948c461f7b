rule preprocess:
    """Render rows by templates, tokenize them, and mask all but the completion."""
    input:
        BUILT_IMAGE_INPUT,
        model=with_checksums("results/models/{model}"),
        dataset=partition_dataset,
        partition=with_checksums("results/partitions/{partition}"),
        script=script("preprocess"),
        code=library_sources("preprocess"),
    output:
        checksums="results/preprocessed/{partition}/{preprocessing}/{model}.checksums.json",
        folder=directory("results/preprocessed/{partition}/{preprocessing}/{model}"),
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
        code=code_digest("preprocess"),
        config=stage_config("preprocess"),
        results=results_folder("preprocessed/{partition}/{preprocessing}/{model}"),
    shell:
        "python {input.script:q} --config {params.config:q} --model {input.model[0]:q}"
        " --dataset {input.dataset[0]:q} --partition {input.partition[0]:q} --output {output.folder:q}"
        " --cores {threads}"
        " --benchmark {params.results:q}/benchmarks/preprocess/{wildcards.partition}/{wildcards.preprocessing}/{wildcards.model}.tsv 2> {log:q}"
