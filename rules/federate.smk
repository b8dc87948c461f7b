rule federate:
    """Rounds of training on the clients and averaging on the server: the adapter."""
    input:
        federation_image,
        model=MODEL,
        partition=PARTITION,
        preprocessed=PREPROCESSED,
        code=list_sources("federate"),
    output:
        adapter=directory("results/experiments/{experiment}/adapter"),
        history="results/experiments/{experiment}/history.json",
    log:
        "results/logs/federate/{experiment}.log",
    benchmark:
        "results/benchmarks/federate/{experiment}.tsv"
    container:
        federation_container
    threads: federation_threads
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=federation_gpus,
        nodes=federation_nodes,
        tasks=federation_tasks,
    params:
        config=stage_config("federate"),
    shell:
        "python workflow_scripts/federate.py --config {params.config:q} --model {input.model}"
        " --partition {input.partition} --preprocessed {input.preprocessed}"
        " --adapter {output.adapter} --history {output.history}"
        " --checkpoints results/checkpoints/{wildcards.experiment}"
        " --logs results/logs/federate/{wildcards.experiment}"
        " --cores {threads} --minutes {resources.runtime} 2>&1 | tee {log}"
