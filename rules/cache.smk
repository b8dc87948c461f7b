# What Snakemake's between-workflow cache keeps, where it is on: all that comes before a federation.
from snakemake.caching.rule import RuleCache

if CACHE_DIR:
    for rule_name in ("fetch_model", "download", "partition", "preprocess"):
        cached_rule = workflow.get_rule(rule_name)
        cached_rule._benchmark = None  # Snakemake caches no rule that has one
        cached_rule.cache = RuleCache.from_rule(cached_rule, True)
