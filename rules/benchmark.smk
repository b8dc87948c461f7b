# One file per model and settings: experiments with the same base and benchmarks share its scores.
rule benchmark:
    """Score one model on benchmarks, by lm-evaluation-harness."""
    input:
        BUILT_IMAGE_INPUT,
        model=benchmarked_model,
        datasets=benchmark_datasets,
        tasks=benchmark_task_files,
        script=script("benchmark"),
        code=library_sources("benchmark"),
    output:
        "results/benchmark_scores/{benchmarked}/{settings}.json",
    log:
        "results/logs/benchmark/{benchmarked}/{settings}.log",
    benchmark:
        "results/benchmarks/benchmark/{benchmarked}/{settings}.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 8
    resources:
        mem_mb=8000,
        runtime=480,
        gpu=benchmark_gpus,
    params:
        code=code_digest("benchmark"),
        config=benchmark_config,
        model=benchmarked_model_arguments,
        datasets=benchmark_dataset_arguments,
    shell:
        "python {input.script:q} --config {params.config:q} {params.model} {params.datasets}"
        " --output {output:q} --cores {threads} 2> {log:q}"


rule find_benchmark_leaks:
    """Find questions of benchmarks in the rows that clients train on."""
    input:
        BUILT_IMAGE_INPUT,
        model=MODEL,
        preprocessed=PREPROCESSED,
        datasets=benchmark_datasets,
        tasks=benchmark_task_files,
        script=script("find_benchmark_leaks"),
        code=library_sources("find_benchmark_leaks"),
    output:
        "results/experiments/{experiment}/benchmark_leaks.json",
    log:
        "results/logs/find_benchmark_leaks/{experiment}.log",
    benchmark:
        "results/benchmarks/find_benchmark_leaks/{experiment}.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        code=code_digest("find_benchmark_leaks"),
        config=stage_config("find_benchmark_leaks"),
        datasets=benchmark_dataset_arguments,
    shell:
        "python {input.script:q} --config {params.config:q} --model {input.model[0]:q}"
        " --preprocessed {input.preprocessed[0]:q} {params.datasets} --output {output:q} 2> {log:q}"
