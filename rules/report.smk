report: "../report/workflow.rst"


rule report:
    """Write the report page and its figures."""
    input:
        BUILT_IMAGE_INPUT,
        expand(
            "results/experiments/{name}/{result}",
            name=CONFIG.run,
            result=["metrics.json", "answers.jsonl"],
        ),
        judged_experiments("results/experiments/{experiment}/judge.json"),
        ancient(expand("results/experiments/{name}/history.json", name=CONFIG.run)),
        with_checksums(
            *expand(
                "results/experiments/{name}/{result}",
                name=CONFIG.run,
                result=["adapter", "merged"],
            ),
            *expand_run("results/models/{model}"),
            *expand_run("results/datasets/{dataset}"),
            *expand_run("results/partitions/{partition}"),
            *expand_run("results/preprocessed/{partition}/{preprocessing}/{model}"),
        ),
        script=script("report"),
        code=library_sources("report"),
    output:
        report(
            "results/report/index.html",
            caption="../report/page.rst",
            category="Report",
        ),
        "results/report/summary.txt",
        report_figure("outcome", "Before and after"),
        report_figure("loss", "Loss by round"),
        report_figure("drift", "Drift"),
        report_figure("traffic", "Megabytes moved"),
        report(
            "results/report/figures/time.svg",
            caption="../report/time.rst",
            category="Figures",
            subcategory="Time by stage",
        ),
    log:
        "results/logs/report/report.log",
    benchmark:
        "results/benchmarks/report/report.tsv"
    conda:
        CONDA_ENVIRONMENT
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("report"),
        config=stage_config("report"),
        results=results_folder("report/index.html"),
    shell:
        "python {input.script:q} --config {params.config:q}"
        " --results {params.results:q} --output {params.results:q}/report 2> {log:q}"
