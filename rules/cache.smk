# What Snakemake's between-workflow cache keeps, where it is on: all that comes before a federation.
from snakemake.caching.rule import RuleCache

if CACHED:
    for name in ("fetch_model", "download", "partition", "preprocess"):
        stage = workflow.get_rule(name)
        stage._benchmark = None  # Snakemake caches no rule that has one
        stage.cache = RuleCache.from_rule(stage, True)
