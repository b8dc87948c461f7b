rule partition:
    """The training rows cut into one table a client."""
    input:
        BUILT_IMAGE_INPUT,
        dataset=partition_dataset,
        shards=local_source_files("partitions", "partition"),
        code=list_sources("partition"),
    output:
        directory("results/partitions/{partition}"),
    log:
        "results/logs/partition/{partition}.log",
    benchmark:
        "results/benchmarks/partition/{partition}.tsv"
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        config=stage_config("partition"),
        files=input_names("shards"),
    shell:
        "python workflow_scripts/partition.py --config {params.config:q}"
        " --dataset {input.dataset} --output {output} 2> {log}"
