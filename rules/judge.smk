rule judge:
    """Compare the models' answers by a judge model, for experiments with evaluation.judge."""
    input:
        BUILT_IMAGE_INPUT,
        answers="results/experiments/{experiment}/answers.jsonl",
        script=script("judge"),
        code=library_sources("judge"),
    output:
        "results/experiments/{experiment}/judge.json",
    log:
        "results/logs/judge/{experiment}.log",
    benchmark:
        "results/benchmarks/judge/{experiment}.tsv"
    # Nodes of a cluster often have no network, and not the key of the endpoint.
    localrule: True
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        code=code_digest("judge"),
        config=stage_config("judge"),
        results=results_folder("experiments/{experiment}/judge.json"),
    shell:
        "python {input.script:q} --config {params.config:q} --answers {input.answers:q}"
        " --cache {params.results:q}/judge_cache/{wildcards.experiment}"
        " --output {output:q} 2> {log:q}"
