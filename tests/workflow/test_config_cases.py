"""Every key of the blocks of data, each alone in a block of its own, asked of few dry runs.

One checkout has a block for each key, side by side, and all of it is done by a stand-in. Then half
of the blocks change one key each: they must rerun, and what stands on them, and nothing else.
"""

import re

import config_cases
import pytest
import yaml
from checkout import CONFIG

# Sources of test rows are the same blocks; test_stage_inputs.py tests both places.
CASES = [case for case in config_cases.build_cases() if not case.name.startswith("test.source")]
CHANGED, FOLLOWS = "told something else", "after another job"


def chain(case):
    """The stages that a case goes through: the names of what they make."""
    if case.section == "partitions":
        return {"partition": case.name}  # what follows is the same for all keys: test_reruns
    if case.section == "preprocessing":
        return {"preprocess": f"base/{case.name}"}
    return {"download": case.name, "partition": case.name, "preprocess": f"{case.name}/base"}


PLACES = {"partition": "results/partitions/{}", "preprocess": "results/preprocessed/{}/m"}
ENDS = [list(chain(case).items())[-1] for case in CASES]
TARGETS = [PLACES[stage].format(name) for stage, name in ENDS]


def configure(checkout, raw):
    (checkout.root / CONFIG).write_text(yaml.safe_dump(raw, sort_keys=False))


@pytest.fixture(scope="module")
def finished(checkout, finish):
    """A checkout in which all cases are done."""
    (checkout.root / "own").mkdir()
    for name in ("a.csv", "b.csv"):
        (checkout.root / "own" / name).write_text(name)
    configure(checkout, config_cases.build_configuration())
    return finish(checkout, *TARGETS, cores=64)


def why(checkout):
    """The jobs that a dry run plans: why, by rule and the name of what it makes."""
    done = checkout.snakemake("--dry-run", *TARGETS)
    assert done.returncode == 0, done.stderr
    found = {}
    for rule, text in re.findall(r"^(?:local)?rule (\w+):\n((?: +.*\n)+)", done.stdout, flags=re.M):
        wildcards = dict(re.findall(r"(\w+)=([^, ]+)", re.search("wildcards: (.*)", text)[1]))
        wildcards.pop("model", None)
        name = "/".join(wildcards.values())
        reason = re.search("reason: (.*)", text)[1]
        found[rule, name] = CHANGED if "changed since last execution" in reason else FOLLOWS
    return found


def expected(cases):
    """What these cases' changes rerun, and why."""
    found = {}
    for case in cases:
        first, *rest = chain(case).items()
        found |= {first: CHANGED} | dict.fromkeys(rest, FOLLOWS)
    return found


@pytest.mark.parametrize("half", [0, 1])
def test_a_key_reruns_its_own_stage_and_what_follows_alone(finished, half):
    changed = CASES[half::2]
    configure(finished, config_cases.build_configuration(changed={case.name for case in changed}))
    assert why(finished) == expected(changed)


def test_a_mixture_follows_its_members(finished):
    raw = config_cases.build_configuration()
    raw["datasets"]["two"]["limit"] = 5
    configure(finished, raw)
    mixtures = [
        case.name
        for case in CASES
        if case.section == "datasets" and case.before["source"]["kind"] == "mixture"
    ]
    found = why(finished)
    assert {name for rule, name in found if rule == "download"} == {"two", *mixtures}
    assert {name for rule, name in found if rule == "partition"} == set(mixtures)


def test_a_second_block_leaves_the_first_alone(finished):
    raw = config_cases.build_configuration()
    for section in ("datasets", "partitions", "preprocessing"):
        raw[section]["another"] = raw[section]["base"]
    configure(finished, raw)
    assert why(finished) == {}
