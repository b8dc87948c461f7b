rule invite:
    """What clients of engine `external` are sent, and their keys; it lies outside of results/."""
    input:
        IMAGE,
        outside("results/models/{model}"),
        outside("results/datasets/{dataset}"),
    log:
        "results/logs/invite/invite.log",
    container:
        CONTAINER
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=invitations,
    shell:
        "python workflow_scripts/invite.py --config {params.config:q} --results results"
        " 2>&1 | tee {log}"
