report: "report/workflow.rst"


rule report:
    """One page about the run: what was trained, on what, by whom, and what came of it."""
    input:
        BUILT_IMAGE_INPUT,
        expand(
            "results/experiments/{name}/{result}",
            name=CONFIG.run,
            result=["metrics.json", "history.json", "adapter", "merged"],
        ),
        expand_run("results/models/{model}"),
        expand_run("results/datasets/{dataset}"),
        expand_run("results/partitions/{partition}"),
        expand_run("results/preprocessed/{partition}/{preprocessing}/{model}"),
        code=list_sources("report"),
    output:
        report(
            "results/report/index.html", caption="report/page.rst", category="Report"
        ),
        report_figure("outcome", "Before and after"),
        report_figure("loss", "Loss by round"),
        report_figure("drift", "Drift"),
        report_figure("traffic", "Megabytes moved"),
        report(
            "results/report/figures/time.svg",
            caption="report/time.rst",
            category="Figures",
            subcategory="Time by stage",
        ),
    log:
        "results/logs/report/report.log",
    benchmark:
        "results/benchmarks/report/report.tsv"
    container:
        CONTAINER_IMAGE
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=stage_config("report"),
    shell:
        "python workflow_scripts/report.py --config {params.config:q}"
        " --results results --output results/report 2> {log}"
