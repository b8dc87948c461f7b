rule partition:
    """The training rows cut into one table a client."""
    input:
        IMAGE,
        dataset=partition_dataset,
        shards=local_source("partitions", "partition"),
        code=sources("partition"),
    output:
        directory("results/partitions/{partition}"),
    log:
        "results/logs/partition/{partition}.log",
    benchmark:
        "results/benchmarks/partition/{partition}.tsv"
    container:
        CONTAINER
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        config=settings("partition"),
        files=names_of("shards"),
    shell:
        "python workflow_scripts/partition.py --config {params.config:q}"
        " --dataset {input.dataset} --output {output} 2> {log}"
