rule merge:
    """Merge the adapter into the base model, and check that both give the same output."""
    input:
        BUILT_IMAGE_INPUT,
        model=MODEL,
        dataset=DATASET,
        preprocessed=PREPROCESSED,
        adapter=with_checksums("results/experiments/{experiment}/adapter"),
        history=ancient("results/experiments/{experiment}/history.json"),
        script=script("merge"),
        code=library_sources("merge"),
    output:
        checksums="results/experiments/{experiment}/merged.checksums.json",
        folder=directory("results/experiments/{experiment}/merged"),
    log:
        "results/logs/merge/{experiment}.log",
    benchmark:
        "results/benchmarks/merge/{experiment}.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 2
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        code=code_digest("merge"),
        config=stage_config("merge"),
    shell:
        "python {input.script:q} --config {params.config:q} --model {input.model[0]:q}"
        " --adapter {input.adapter[0]:q} --preprocessed {input.preprocessed[0]:q}"
        " --dataset {input.dataset[0]:q} --history {input.history:q} --output {output.folder:q} 2> {log:q}"
