rule draw_partition:
    """Draw the rows per client and label, to look at before training."""
    input:
        BUILT_IMAGE_INPUT,
        partition=with_checksums("results/partitions/{partition}"),
        script=script("draw_partition"),
        code=library_sources("draw_partition"),
    output:
        report(
            "results/report/partitions/{partition}.svg",
            caption="../report/partition.rst",
            category="Figures",
            subcategory="Rows by client",
        ),
    log:
        "results/logs/draw_partition/{partition}.log",
    benchmark:
        "results/benchmarks/draw_partition/{partition}.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("draw_partition"),
    shell:
        "python {input.script:q} --partition {input.partition[0]:q}"
        " --output {output:q} 2> {log:q}"
