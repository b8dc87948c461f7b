rule invite:
    """What clients of engine `external` are sent, and their keys; it lies outside of results/."""
    input:
        BUILT_IMAGE_INPUT,
        external_runs("results/models/{model}"),
        external_runs("results/datasets/{dataset}"),
    log:
        "results/logs/invite/invite.log",
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=client_bundle_configs,
    shell:
        "python workflow_scripts/invite.py --config {params.config:q} --results results"
        " 2>&1 | tee {log}"
