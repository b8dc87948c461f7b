"""Dry runs: the jobs that are planned, and the errors before any job starts."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter

import pytest
from checkout import CONFIG, ROOT

STAGES = (
    "fetch_model",
    "download",
    "partition",
    "draw_partition",
    "preprocess",
    "federate",
    "merge",
    "evaluate",
    "collect_metrics",
    "report",
)
HEAVY = {"torch", "transformers", "datasets", "peft", "trl", "flwr", "ray", "tokenizers"}
IMAGE = "results/containers/blossomtune.sif"

apptainer = pytest.mark.skipif(
    shutil.which("apptainer") is None, reason="Snakemake asks for apptainer in a dry run too"
)


def test_the_default_is_every_stage_once(checkout):
    assert checkout.planned() == Counter([*STAGES, "all"])


def test_partitions_builds_the_clients_data_and_its_figures_alone(checkout):
    planned = checkout.planned("partitions")
    assert planned == Counter(["download", "partition", "draw_partition", "partitions"])


def test_preview_trains_nothing(checkout):
    planned = checkout.planned("preview")
    stages = ["fetch_model", "download", "partition", "preprocess", "render_preview"]
    assert planned == Counter([*stages, "preview"])


def test_plan_trains_nothing_and_runs_each_time(checkout):
    assert checkout.planned("plan") == Counter(["plan_downloads", "plan"])
    (checkout.root / "results").mkdir()
    (checkout.root / "results/downloads.json").write_text("{}")
    planned = checkout.planned("plan", "--rerun-triggers", "mtime")
    assert planned == Counter(["fetch_model", "download", "partition", "preprocess", "plan"])
    # no output that could make Snakemake skip it
    plan = dict(rules())["plan"]
    assert not re.search(r"^ +output:", plan, flags=re.M)


def test_workflow_is_read_without_a_number_of_cores(checkout):
    """A cluster's run and `--unlock`, which `make run` calls after a kill, have none."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--unlock"],
        cwd=checkout.root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_preview_has_every_combination_of_blocks_once(small):
    def change(data):
        first = data["experiments"]["quickstart"]
        data["preprocessing"]["short"] = data["preprocessing"]["sentiment"] | {"max_length": 99}
        data["experiments"] |= {"same": first, "other": first | {"preprocessing": "short"}}
        data["run"] = ["quickstart", "same", "other"]

    small.configure(change)
    assert small.planned("preview")["render_preview"] == 2


def test_make_run_takes_a_target_with_the_cache_on_and_off(checkout):
    """`--cache` takes the names behind it for rules, so the Makefile puts it elsewhere."""
    line = re.search(r"^\tsnakemake (.*); status=", (ROOT / "Makefile").read_text(), flags=re.M)[1]
    shell = line.replace("$$", "$").replace("$(ARGS)", "partitions --dry-run")
    (checkout.root / "cache").mkdir()
    for cache in ("", str(checkout.root / "cache")):
        done = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m snakemake {shell}"],
            cwd=checkout.root,
            env=os.environ | {"SNAKEMAKE_OUTPUT_CACHE": cache},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert re.search(r"^total +4$", done.stdout, flags=re.M)


def test_make_run_rejects_a_target_after_configfile():
    def make(arguments):
        # -o: nothing is installed. Below `make test`, make would name its directory.
        options = ["--no-print-directory", "-n", "-o", ".venv/.locked"]
        command = ["make", *options, "run", f"ARGS={arguments}"]
        script = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        check, _, rest = script.stdout.partition("exec 9>")
        assert "snakemake" in rest
        return subprocess.run(["sh", "-c", check], capture_output=True, text=True)

    for arguments in ("partitions --configfile a.yaml b.json", "--configfile a.yaml --cores 2 all"):
        assert make(arguments).returncode == 0
    done = make("--configfile config/config.yaml partitions --dry-run")
    assert (done.returncode, done.stderr) == (
        1,
        "error: --configfile takes all names after it for configuration files, and 'partitions' is "
        'none\n  hint: a target goes first: make run ARGS="partitions --configfile FILE"\n',
    )


@pytest.fixture
def small(checkout):
    """The checkout, its configuration put back afterwards."""
    file = checkout.root / CONFIG
    before = file.read_text(encoding="utf-8")
    yield checkout
    file.write_text(before, encoding="utf-8")


@pytest.mark.parametrize(
    ("chosen", "jobs"),
    [({"centralised": True}, 1), ({"local": True}, 4), ({"centralised": True, "local": True}, 5)],
)
def test_controls_are_jobs_of_their_own(small, chosen, jobs):
    small.configure(lambda data: data["experiments"]["quickstart"].update(baselines=chosen))
    assert small.planned() == Counter([*STAGES, *["train_baseline"] * jobs, "all"])


def test_formats_are_jobs_where_they_are_named_and_publishing_is_never_part_of_a_run(small):
    blocks = {"export": {"gguf": ["q8_0"]}, "publish": {"repo": "owner/name"}}
    small.configure(lambda data: data["experiments"]["quickstart"].update(blocks))
    assert small.planned() == Counter([*STAGES, "fetch_converter", "export", "all"])
    trained = ["fetch_model", "download", "partition", "preprocess", "federate"]
    assert small.planned("publish_dry_run") == Counter([*trained, "publish_dry_run"])


def test_judge_is_a_job_of_the_experiments_that_ask_for_it(small):
    def add_judge(data):
        judge = {"base_url": "https://a.example/v1", "model": "a"}
        data["experiments"]["quickstart"]["evaluation"]["judge"] = judge

    small.configure(add_judge)
    assert small.planned() == Counter([*STAGES, "judge", "all"])


@pytest.mark.parametrize("cut", ["iid", "local"])
def test_a_thousand_clients_are_no_more_jobs(small, cut):
    def change(data):
        block = {"dataset": "vader-sentiment", "partitioner": cut, "num_partitions": 1000}
        if cut == "local":
            (small.root / "shards").mkdir()
            block["paths"] = {f"c{i}": f"shards/{i}.csv" for i in range(1000)}
            for path in block["paths"].values():
                (small.root / path).write_text("text,rating\n")
        data["partitions"]["by-domain"] = block

    small.configure(change)
    assert small.planned() == Counter([*STAGES, "all"])


def test_a_local_path_that_is_not_there_is_named(small):
    def change(data):
        data["datasets"]["vader-sentiment"]["source"] = {"kind": "path", "path": "nowhere/x.csv"}

    small.configure(change)
    done = small.snakemake("--dry-run")
    assert done.returncode == 1
    assert "datasets.vader-sentiment: there is no file or folder 'nowhere/x.csv'" in done.stdout


def test_files_of_a_pattern_and_of_the_home_folder_are_inputs(small, tmp_path):
    def change(data):
        source = {"kind": "path", "path": "own/*.csv"}
        data["datasets"]["vader-sentiment"]["source"] = source
        data["datasets"]["vader-sentiment"]["test"]["source"] = {"kind": "path", "path": "~/t.csv"}
        paths = {"a": "~/sh?rds/*.csv", "b": "own/a.csv"}
        data["partitions"]["by-domain"] = {
            "dataset": "vader-sentiment",
            "partitioner": "local",
            "paths": paths,
        }

    small.configure(change)
    (small.root / "own").mkdir()
    (tmp_path / "shards").mkdir()
    for path in (small.root / "own/a.csv", small.root / "own/b.csv", tmp_path / "t.csv"):
        path.touch()
    done = small.snakemake("--dry-run", HOME=str(tmp_path))
    assert "partitions.by-domain: no file or folder matches '~/sh?rds/*.csv'; " in done.stdout
    (tmp_path / "shards/c.csv").touch()
    done = small.snakemake("--dry-run", HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    inputs = re.findall(r"^    input: (.*)", done.stdout, flags=re.M)
    assert any(f"{tmp_path}/t.csv, own/a.csv, own/b.csv" in files for files in inputs)
    assert any(f"{tmp_path}/shards/c.csv, own/a.csv" in files for files in inputs)


def test_a_dry_run_imports_nothing_heavy(checkout):
    command = [sys.executable, "-X", "importtime", "-m", "snakemake", "--dry-run", "--cores", "1"]
    done = subprocess.run(
        command, cwd=checkout.root, capture_output=True, text=True, check=True
    ).stderr
    imported = {line.rpartition("|")[2].strip() for line in done.splitlines() if "|" in line}
    assert "snakemake.workflow" in imported
    assert imported & HEAVY == set()


def test_all_faults_of_a_configuration_are_told_before_any_job(checkout):
    overlay = checkout.root / "overlay.yaml"
    overlay.write_text("{sed: 1, run: [quikstart], report: {title: 3}}")
    done = checkout.snakemake("--configfile", CONFIG, overlay.name)
    assert done.returncode == 1
    assert "3 errors in the configuration" in done.stderr
    assert "sed: unknown key (value 1); did you mean 'seed'?" in done.stderr
    assert "run[0]: 'quikstart' is not a block of experiments" in done.stderr
    assert "did you mean 'quickstart'? known: quickstart" in done.stderr
    assert "report.title: 3 is not allowed; allowed: text, so put it in quotes" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout.root / "results/logs").exists()


def test_snakemakes_own_lint_finds_nothing(checkout):
    done = checkout.snakemake("--lint")
    assert done.returncode == 0, done.stdout + done.stderr


def rules():
    """Every rule of a stage: its name and its text."""
    for file in sorted((ROOT / "rules").glob("*.smk")):
        blocks = re.split(
            r"^ *(?:rule|checkpoint) (\w+):\n", file.read_text(encoding="utf-8"), flags=re.M
        )[1:]
        yield from zip(blocks[::2], blocks[1::2], strict=True)


def test_every_stage_has_a_rule():
    assert {name for name, _ in rules()} == {
        *(
            *STAGES,
            "benchmark",
            "find_benchmark_leaks",
            "judge",
            "fetch_converter",
            "export",
            "publish",
            "track",
            "render_preview",
            "train_baseline",
            "container",
            "invite",
            "plan",
            "plan_downloads",
            "write_run",
        )
    }


@pytest.mark.parametrize(("name", "text"), rules(), ids=[name for name, _ in rules()])
def test_every_rule_says_what_it_needs(name, text):
    assert text.lstrip().startswith('"""'), "a docstring comes first"
    given = set(re.findall(r"^ +(\w+)(?::|=)", text, flags=re.M))
    wanted = {"input", "output", "log", "benchmark", "threads", "mem_mb", "runtime", "shell"}
    wanted |= {"conda", "script"}
    wanted |= {"container"} - {name}  # the image cannot be built inside itself
    if "cache" in given:  # Snakemake caches no rule that has a benchmark: the script writes it
        assert "--benchmark" in text
        wanted -= {"benchmark"}
    if name in ("invite", "plan", "publish"):  # without output, they always run when asked for
        wanted -= {"output", "benchmark"}
    assert wanted - given == set()
    assert ("gpu" in given) == (name in ("federate", "train_baseline", "evaluate", "benchmark"))


@apptainer
def test_in_containers_every_stage_waits_for_the_image(checkout):
    done = checkout.snakemake("--dry-run", "--use-singularity")
    assert done.returncode == 0, done.stderr
    inputs = dict(re.findall(r"^rule (?!all)(\w+):\n    input: (.*)", done.stdout, flags=re.M))
    assert set(inputs) == {*STAGES, "container"}
    assert {name for name, files in inputs.items() if IMAGE in files.split(", ")} == set(STAGES)


@apptainer
@pytest.mark.parametrize("flags", [(), ("--use-singularity",)])
@pytest.mark.parametrize("engine", ["apptainer", "docker", "process"])
def test_the_image_is_built_for_engines_that_need_it(small, engine, flags):
    small.configure(
        lambda data: data["experiments"]["quickstart"]["federation"].update(engine=engine)
    )
    jobs = small.planned(*flags)
    assert jobs.get("container", 0) == (bool(flags) or engine == "apptainer")


@apptainer
@pytest.mark.parametrize("image", ["docker://blossomtune:1.0", "/images/own.sif"])
def test_an_image_of_the_users_own_is_not_built(checkout, image):
    given = ("--use-singularity", "--config", f"container={{image: '{image}'}}")
    assert checkout.planned(*given) == Counter([*STAGES, "all"])


def test_training_waits_for_the_leaks_of_benchmarks_that_are_refused(checkout):
    example = ("--configfile", "config/examples/benchmarks.yaml")
    leaks = "results/experiments/quickstart/benchmark_leaks.json"
    adapter = "results/experiments/quickstart/adapter"
    assert "find_benchmark_leaks" not in checkout.planned(adapter, *example)
    refused = ("--config", "preprocessing={sentiment: {leaks: error}}")
    done = checkout.snakemake("--dry-run", adapter, *example, *refused)
    assert done.returncode == 0, done.stderr
    [inputs] = re.findall(r"^rule federate:\n    input: (.*)", done.stdout, flags=re.M)
    assert leaks in inputs.split(", ")


ADDITIONAL_STAGES = {
    "comparison.yaml": {"train_baseline": 5},  # on all rows, and per client
    "instruction.yaml": {"train_baseline": 1},
    "benchmarks.yaml": {"benchmark": 2, "find_benchmark_leaks": 1},
    "flowertune.yaml": {"benchmark": 6, "find_benchmark_leaks": 3},
}
"""Jobs that an example has beyond those of the default, by file and stage."""


@pytest.mark.parametrize("name", [e.name for e in (ROOT / "config/examples").glob("*.yaml")])
def test_every_example_can_be_planned(checkout, name):
    planned = checkout.planned("--configfile", f"config/examples/{name}")
    additional = ADDITIONAL_STAGES.get(name, {})
    assert set(planned) == {*STAGES, "all", *additional}
    assert {stage: planned[stage] for stage in additional} == additional
