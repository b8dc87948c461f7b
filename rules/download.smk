rule download:
    """A data set as two tables: training rows, and test rows that no client ever sees."""
    input:
        BUILT_IMAGE_INPUT,
        source=local_source_files("datasets", "dataset"),
        members=mixture_members,
        code=list_sources("download"),
    output:
        directory("results/datasets/{dataset}"),
    log:
        "results/logs/download/{dataset}.log",
    benchmark:
        "results/benchmarks/download/{dataset}.tsv"
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        config=stage_config("download"),
        files=input_names("source"),
        members=mixture_member_configs,
    shell:
        "python workflow_scripts/download.py --config {params.config:q}"
        " --members {input.members} --output {output} 2> {log}"
