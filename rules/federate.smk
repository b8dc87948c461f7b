rule federate:
    """Train an adapter by rounds of training on the clients and aggregation on the server."""
    input:
        federation_image,
        model=MODEL,
        partition=PARTITION,
        preprocessed=PREPROCESSED,
        no_leaks=refused_benchmark_leaks,
        script=script("federate"),
        code=library_sources("federate"),
    output:
        checksums="results/experiments/{experiment}/adapter.checksums.json",
        adapter=directory("results/experiments/{experiment}/adapter"),
        history="results/experiments/{experiment}/history.json",
    log:
        "results/logs/federate/{experiment}.log",
    benchmark:
        "results/benchmarks/federate/{experiment}.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        federation_container
    threads: federation_threads
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=federation_gpus,
        nodes=federation_nodes,
        tasks=federation_tasks,
        trackers=TRACKERS_FILE,
    params:
        code=code_digest("federate"),
        config=stage_config("federate"),
        results=results_folder("experiments/{experiment}/adapter"),
    shell:
        "python {input.script:q} --config {params.config:q} --model {input.model[0]:q}"
        " --partition {input.partition[0]:q} --preprocessed {input.preprocessed[0]:q}"
        " --adapter {output.adapter:q} --history {output.history:q}"
        " --checkpoints {params.results:q}/checkpoints/{wildcards.experiment}"
        " --logs {params.results:q}/logs/federate/{wildcards.experiment}"
        " --trackers {resources.trackers:q} --tracking {params.results:q}/tracking"
        " --cores {threads} --minutes {resources.runtime} 2>&1 | tee {log:q}"
