rule fetch_model:
    """A base model as a plain Hugging Face directory: safetensors, tokenizer, chat template."""
    input:
        BUILT_IMAGE_INPUT,
        source=local_source_files("models", "model"),
        code=list_sources("fetch_model"),
    output:
        directory("results/models/{model}"),
    log:
        "results/logs/fetch_model/{model}.log",
    benchmark:
        "results/benchmarks/fetch_model/{model}.tsv"
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        config=stage_config("fetch_model"),
    shell:
        "python workflow_scripts/fetch_model.py --config {params.config:q} --output {output} 2> {log}"
