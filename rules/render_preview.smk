rule render_preview:
    """Show rows token by token, with learnt tokens marked, to look at before training."""
    input:
        BUILT_IMAGE_INPUT,
        model=with_checksums("results/models/{model}"),
        partition=with_checksums("results/partitions/{partition}"),
        preprocessed=with_checksums(
            "results/preprocessed/{partition}/{preprocessing}/{model}"
        ),
        script=script("render_preview"),
        code=library_sources("render_preview"),
    output:
        page="results/preview/{partition}/{preprocessing}/{model}.html",
        text="results/preview/{partition}/{preprocessing}/{model}.txt",
    log:
        "results/logs/render_preview/{partition}/{preprocessing}/{model}.log",
    benchmark:
        "results/benchmarks/render_preview/{partition}/{preprocessing}/{model}.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_digest("render_preview"),
        config=stage_config("render_preview"),
    shell:
        "python {input.script:q} --config {params.config:q} --model {input.model[0]:q}"
        " --partition {input.partition[0]:q} --preprocessed {input.preprocessed[0]:q}"
        " --output {output.page:q} --text {output.text:q} 2> {log:q}"
