rule download:
    """Fetch a data set and split it into training rows and test rows."""
    input:
        BUILT_IMAGE_INPUT,
        source=local_source_files("datasets", "dataset"),
        members=mixture_members,
        member_checksums=mixture_member_checksums,
        script=script("download"),
        code=library_sources("download"),
    output:
        checksums="results/datasets/{dataset}.checksums.json",
        folder=directory("results/datasets/{dataset}"),
    log:
        "results/logs/download/{dataset}.log",
    cache: IS_CACHED
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_digest("download"),
        config=stage_config("download"),
        results=results_folder("datasets/{dataset}"),
        files=input_names("source"),
        members=mixture_member_configs,
    shell:
        "python {input.script:q} --config {params.config:q}"
        " --members {input.members:q} --output {output.folder:q}"
        " --benchmark {params.results:q}/benchmarks/download/{wildcards.dataset}.tsv 2> {log:q}"
