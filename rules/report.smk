report: "report/workflow.rst"


rule report:
    """One page about the run: what was trained, on what, by whom, and what came of it."""
    input:
        IMAGE,
        expand(
            "results/experiments/{name}/{result}",
            name=CONFIG.run,
            result=["metrics.json", "history.json", "adapter", "merged"],
        ),
        every("results/models/{model}"),
        every("results/datasets/{dataset}"),
        every("results/partitions/{partition}"),
        every("results/preprocessed/{partition}/{preprocessing}/{model}"),
        code=sources("report"),
    output:
        report(
            "results/report/index.html", caption="report/page.rst", category="Report"
        ),
        figure("outcome", "Before and after"),
        figure("loss", "Loss by round"),
        figure("drift", "Drift"),
        figure("traffic", "Megabytes moved"),
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
        CONTAINER
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=settings("report"),
    shell:
        "python workflow_scripts/report.py --config {params.config:q}"
        " --results results --output results/report 2> {log}"
