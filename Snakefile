# BlossomTune: federated LoRA fine-tuning of language models, from a data set to a report.
#
#   download ── partition ── preprocess ── federate ── merge ── evaluate ── report
#   fetch_model ─────────────────┘   └─ train_baseline ─┘
#
# config/config.yaml says what is built; every key is described in docs/configuration.md.
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")

CONFIG_FILE = Path("config/config.yaml")


include: "rules/checkout.smk"


# The working directory's configuration; the default of this workflow where it has none.
configfile: CONFIG_FILE if CONFIG_FILE.exists() else CHECKOUT / CONFIG_FILE


include: "rules/common.smk"
include: "rules/resources.smk"
include: "rules/benchmark_inputs.smk"
include: "rules/publish_inputs.smk"
include: "rules/container.smk"
include: "rules/fetch_model.smk"
include: "rules/download.smk"
include: "rules/partition.smk"
include: "rules/draw_partition.smk"
include: "rules/preprocess.smk"
include: "rules/render_preview.smk"
include: "rules/plan.smk"
include: "rules/invite.smk"
include: "rules/track.smk"
include: "rules/write_run.smk"
include: "rules/federate.smk"
include: "rules/train_baseline.smk"
include: "rules/merge.smk"
include: "rules/evaluate.smk"
include: "rules/benchmark.smk"
include: "rules/collect_metrics.smk"
include: "rules/judge.smk"
include: "rules/export.smk"
include: "rules/publish.smk"
include: "rules/report.smk"


PARTITION_FIGURES = expand_run("results/report/partitions/{partition}.svg")
EXPORTS = [
    f"results/experiments/{name}/export"
    for name in CONFIG.run
    if CONFIG.experiments[name].export
]


# The default target: the first rule of this file. The directive `default_target` would take effect in
# workflows that use this one as a module, too.
rule all:
    """Build the experiments of `run`, and the report about them."""
    input:
        rules.report.output,
        PARTITION_FIGURES,
        EXPORTS,
        TRACKED,
    localrule: True


rule partitions:
    """Build the clients' data and its figures, to look at before training."""
    input:
        expand_run("results/partitions/{partition}"),
        PARTITION_FIGURES,
    localrule: True


rule preview:
    """Show what the model reads and learns, per partition, preprocessing and model."""
    input:
        expand_run("results/preview/{partition}/{preprocessing}/{model}.html"),
        expand_run("results/preview/{partition}/{preprocessing}/{model}.txt"),
    localrule: True


onstart:
    shorten_job_lines()


onsuccess:
    show_summary()
