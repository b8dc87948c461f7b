rule partition:
    """Assign the training rows to clients, one table per client."""
    input:
        BUILT_IMAGE_INPUT,
        dataset=partition_dataset,
        shards=local_source_files("partitions", "partition"),
        script=script("partition"),
        code=library_sources("partition"),
    output:
        checksums="results/partitions/{partition}.checksums.json",
        folder=directory("results/partitions/{partition}"),
    log:
        "results/logs/partition/{partition}.log",
    cache: IS_CACHED
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code_digest("partition"),
        config=stage_config("partition"),
        results=results_folder("partitions/{partition}"),
        files=input_names("shards"),
    shell:
        "python {input.script:q} --config {params.config:q}"
        " --dataset {input.dataset[0]:q} --output {output.folder:q}"
        " --benchmark {params.results:q}/benchmarks/partition/{wildcards.partition}.tsv 2> {log:q}"
