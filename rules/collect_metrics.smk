rule collect_metrics:
    """Collect the metrics on held-out rows and the scores on benchmarks, if there are some."""
    input:
        BUILT_IMAGE_INPUT,
        evaluation="results/experiments/{experiment}/evaluation.json",
        scores=benchmark_scores,
        leaks=benchmark_leaks,
        script=script("collect_metrics"),
        code=library_sources("collect_metrics"),
    output:
        "results/experiments/{experiment}/metrics.json",
    log:
        "results/logs/collect_metrics/{experiment}.log",
    benchmark:
        "results/benchmarks/collect_metrics/{experiment}.tsv"
    # A second's work: less than the wait in a cluster's queue.
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
        code=code_digest("collect_metrics"),
        scores=benchmark_score_arguments,
        leaks=benchmark_leak_arguments,
    shell:
        "python {input.script:q} --evaluation {input.evaluation:q} {params.scores} {params.leaks}"
        " --output {output:q} 2> {log:q}"
