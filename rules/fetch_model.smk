rule fetch_model:
    """Fetch a base model as a Hugging Face folder: safetensors, tokenizer, chat template."""
    input:
        BUILT_IMAGE_INPUT,
        source=local_source_files("models", "model"),
        script=script("fetch_model"),
        code=library_sources("fetch_model"),
    output:
        checksums="results/models/{model}.checksums.json",
        folder=directory("results/models/{model}"),
    log:
        "results/logs/fetch_model/{model}.log",
    cache: IS_CACHED
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_digest("fetch_model"),
        config=stage_config("fetch_model"),
        results=results_folder("models/{model}"),
    shell:
        "python {input.script:q} --config {params.config:q} --output {output.folder:q}"
        " --benchmark {params.results:q}/benchmarks/fetch_model/{wildcards.model}.tsv 2> {log:q}"
