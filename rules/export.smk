rule fetch_converter:
    """Fetch llama.cpp's converters to GGUF."""
    input:
        BUILT_IMAGE_INPUT,
        script=script("fetch_converter"),
        code=library_sources("fetch_converter"),
    output:
        checksums="results/converters/llama.cpp.checksums.json",
        folder=directory("results/converters/llama.cpp"),
    log:
        "results/logs/fetch_converter/llama.cpp.log",
    benchmark:
        "results/benchmarks/fetch_converter/llama.cpp.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        code=code_digest("fetch_converter"),
        config=stage_config("fetch_converter"),
    shell:
        "python {input.script:q} --config {params.config:q} --output {output.folder:q} 2> {log:q}"


rule export:
    """Write the result as GGUF files and for Ollama."""
    input:
        BUILT_IMAGE_INPUT,
        converter=with_checksums("results/converters/llama.cpp"),
        merged=with_checksums("results/experiments/{experiment}/merged"),
        adapter=with_checksums("results/experiments/{experiment}/adapter"),
        preprocessed=PREPROCESSED,
        script=script("export"),
        code=library_sources("export"),
    output:
        checksums="results/experiments/{experiment}/export.checksums.json",
        folder=directory("results/experiments/{experiment}/export"),
    log:
        "results/logs/export/{experiment}.log",
    benchmark:
        "results/benchmarks/export/{experiment}.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        code=code_digest("export"),
        config=stage_config("export"),
    shell:
        "python {input.script:q} --config {params.config:q} --converter {input.converter[0]:q}"
        " --merged {input.merged[0]:q} --adapter {input.adapter[0]:q}"
        " --preprocessed {input.preprocessed[0]:q} --output {output.folder:q} 2> {log:q}"
