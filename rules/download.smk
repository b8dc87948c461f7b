rule download:
    """A data set as two tables: training rows, and test rows that no client ever sees."""
    input:
        IMAGE,
        source=local_source("datasets", "dataset"),
        members=mixed_from,
        code=sources("download"),
    output:
        directory("results/datasets/{dataset}"),
    log:
        "results/logs/download/{dataset}.log",
    benchmark:
        "results/benchmarks/download/{dataset}.tsv"
    container:
        CONTAINER
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        config=settings("download"),
        files=names_of("source"),
        members=member_settings,
    shell:
        "python workflow_scripts/download.py --config {params.config:q}"
        " --members {input.members} --output {output} 2> {log}"
