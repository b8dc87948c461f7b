rule draw_partition:
    """A partition as a figure, clients by labels, to look at before any training."""
    input:
        BUILT_IMAGE_INPUT,
        partition="results/partitions/{partition}",
        code=list_sources("draw_partition"),
    output:
        report(
            "results/report/partitions/{partition}.svg",
            caption="report/partition.rst",
            category="Figures",
            subcategory="Rows by client",
        ),
    log:
        "results/logs/draw_partition/{partition}.log",
    benchmark:
        "results/benchmarks/draw_partition/{partition}.tsv"
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "python workflow_scripts/draw_partition.py --partition {input.partition}"
        " --output {output} 2> {log}"
