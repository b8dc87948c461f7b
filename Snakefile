# BlossomTune: federated fine-tuning of small language models, from a data set to a report.
#
#   download ── partition ── preprocess ── federate ── merge ── evaluate ── report
#   fetch_model ─────────────────┘   └─ train_baseline ─┘
#
# What is built is said in config/config.yaml; every key is explained in config/README.md.
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/container.smk"
include: "rules/fetch_model.smk"
include: "rules/download.smk"
include: "rules/partition.smk"
include: "rules/draw_partition.smk"
include: "rules/preprocess.smk"
include: "rules/invite.smk"
include: "rules/federate.smk"
include: "rules/train_baseline.smk"
include: "rules/merge.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"
include: "rules/cache.smk"


PARTITION_FIGURES = expand_run("results/report/partitions/{partition}.svg")


rule all:
    """Everything: the experiments of `run`, and the report about them."""
    default_target: True
    input:
        # With the figures: those of an experiment that is new in `run` are not there yet.
        rules.report.output,
        PARTITION_FIGURES,


rule partitions:
    """The clients' data alone, with its figures: to look at before training."""
    input:
        expand_run("results/partitions/{partition}"),
        PARTITION_FIGURES,


localrules:
    all,
    partitions,
    invite,
