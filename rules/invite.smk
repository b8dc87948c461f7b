rule invite:
    """Write what clients of engine `external` need, and their keys, outside of results/."""
    input:
        BUILT_IMAGE_INPUT,
        models=with_checksums(*external_runs("results/models/{model}")),
        datasets=with_checksums(*external_runs("results/datasets/{dataset}")),
        script=script("invite"),
    log:
        "results/logs/invite/invite.log",
    localrule: True
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=client_bundle_config,
        results=client_bundle_results,
    shell:
        "python {input.script:q} --config {params.config:q} --results {params.results:q}"
        " 2>&1 | tee {log:q}"
