"""The workflow runs from other places than its own folder, and inside other workflows."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections import Counter

import pytest
import yaml
from checkout import CONFIG, PARTS, ROOT, Checkout

STAGES = [
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
]
REPORT = "results/report/index.html"

MODULE = """
configfile: "own.yaml"

rule mine:
    input: "{prefix}results/report/index.html"
    output: "mine.txt"
    shell: "cp {{input}} {{output}}"

module blossomtune:
    snakefile: {snakefile}
    config: config["blossomtune"]
    {directive}

use rule * from blossomtune as blossomtune_*
"""


@pytest.fixture
def read_only(checkout, tmp_path):
    """Return the Snakefile of a checkout in a path with spaces that nobody may write to."""
    root = tmp_path / "a b" / "check out"
    shutil.copytree(checkout.root, root, ignore=shutil.ignore_patterns("results", ".snakemake"))
    for path in (root, *root.rglob("*")):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    yield root / "Snakefile"
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    for path in (root, *root.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


@pytest.fixture
def elsewhere(tmp_path):
    """Return a working directory with a space in its name."""
    folder = tmp_path / "some where"
    folder.mkdir()
    return Checkout(folder)


def read_commands(text):
    """Return the stages' commands in the output of ``snakemake -p``."""
    return re.findall(r"^Shell command: (python .*)$", text, flags=re.M)


def test_runs_in_another_directory_from_a_read_only_checkout(read_only, elsewhere, finish):
    finish(elsewhere, "--snakefile", str(read_only), "--printshellcmds")
    assert (elsewhere.root / REPORT).is_file()
    assert elsewhere.planned("--snakefile", str(read_only)) == {}
    preview = elsewhere.snakemake("--dry-run", "preview", "--snakefile", str(read_only))
    assert "results/preview/by-domain/sentiment/smollm2-135m-instruct.html" in preview.stdout


def test_directory_has_its_own_configuration(read_only, elsewhere):
    other = yaml.safe_load((ROOT / CONFIG).read_text())
    other["experiments"]["other"] = other["experiments"].pop("quickstart")
    other["run"] = ["other"]
    (elsewhere.root / "config").mkdir()
    (elsewhere.root / CONFIG).write_text(yaml.safe_dump(other))
    result = elsewhere.snakemake("--snakefile", str(read_only), "--dry-run")
    assert "results/experiments/other/metrics.json" in result.stdout
    assert "quickstart" not in result.stdout


def test_catalog_snakefile_is_the_same_workflow(checkout):
    planned = checkout.planned("--snakefile", "workflow/Snakefile")
    assert planned == Counter([*STAGES, "all"])


@pytest.mark.parametrize("prefix", ["", "below/here/"])
def test_module_of_another_workflow(read_only, elsewhere, finish, prefix):
    config = yaml.safe_load((ROOT / CONFIG).read_text())
    (elsewhere.root / "own.yaml").write_text(yaml.safe_dump({"blossomtune": config}))
    (elsewhere.root / "Snakefile").write_text(
        MODULE.format(
            prefix=prefix,
            snakefile=repr(str(read_only)),
            directive=f'prefix: "{prefix}"' if prefix else "",
        )
    )
    names = [f"blossomtune_{stage}" for stage in STAGES if stage != "draw_partition"]
    assert elsewhere.planned() == Counter([*names, "mine"]), "the default target is ours"
    finish(elsewhere)
    assert (elsewhere.root / "mine.txt").is_file()
    finish(elsewhere, "blossomtune_preview")
    preview = elsewhere.root / prefix / "results/preview/by-domain/sentiment"
    assert {file.suffix for file in preview.iterdir()} == {".html", ".txt"}
    made = {path.name for path in (elsewhere.root / prefix).iterdir()}
    assert "results" in made
    if prefix:
        assert not (elsewhere.root / "results").exists()


def test_module_from_a_git_host(elsewhere, finish, tmp_path):
    """Snakemake's clone of the repository is put where it looks first, so no network is needed."""
    repository = tmp_path / "repository"
    repository.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, repository / part)

    def git(*arguments):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        command = ["git", *identity, *map(str, arguments)]
        return subprocess.run(
            command, cwd=repository, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "test")
    cache = tmp_path / "cache"
    clone = cache / "snakemake/snakemake/source-cache/snakemake-git-cache/github.com/owner/name"
    clone.parent.mkdir(parents=True)
    git("clone", "--quiet", "--bare", repository, clone)
    commit = git("rev-parse", "HEAD")
    config = yaml.safe_load((ROOT / CONFIG).read_text())
    (elsewhere.root / "own.yaml").write_text(yaml.safe_dump({"blossomtune": config}))
    source = f'github("owner/name", path="workflow/Snakefile", commit="{commit}")'
    (elsewhere.root / "Snakefile").write_text(
        MODULE.format(prefix="", snakefile=source, directive="")
    )
    finish(elsewhere, XDG_CACHE_HOME=str(cache))
    assert (elsewhere.root / "mine.txt").is_file()


def test_printed_commands_are_short_and_can_be_run_again(checkout, finish, tmp_path):
    copy = Checkout(shutil.copytree(checkout.root, tmp_path / "workflow"))
    result = copy.snakemake("--dry-run", "--printshellcmds")
    commands = read_commands(result.stdout)
    assert len(commands) == len(STAGES)
    assert max(map(len, commands)) < 700
    for command in commands:
        words = shlex.split(command)
        assert words[1].startswith("workflow_scripts/")
        assert not any(word.startswith("{") for word in words)
        if "--config" in words:  # a dry run has written it, so that the command can be run
            file = copy.root / words[words.index("--config") + 1]
            assert isinstance(json.loads(file.read_text()), dict)
    help_text = subprocess.run(
        [sys.executable, "workflow_scripts/download.py", "--help"],
        cwd=copy.root,
        capture_output=True,
        text=True,
    ).stdout
    assert "--config FILE" in help_text


def test_dry_run_with_another_configuration_leaves_files_of_a_running_job(checkout, tmp_path):
    copy = Checkout(shutil.copytree(checkout.root, tmp_path / "workflow"))
    assert copy.planned()
    folder = copy.root / ".snakemake/blossomtune/config"
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    assert copy.planned("--config", "seed=7")
    after = {path: path.read_bytes() for path in folder.rglob("*.json")}
    assert before.items() < after.items()


def test_rules_use_public_interfaces_and_leave_the_environment():
    for file in (ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"\w\._[a-z]", text), f"{file}: private attribute"
        assert not re.search(r"os\.environ(\[[^]]+\] *=[^=]|\.update| *\|=)", text), file
        assert "putenv" not in text


CONDA = """\
#!{python}
import json, os, shutil, sys
arguments = sys.argv[1:]
base = os.environ["CONDA_BASE"]
if arguments[:2] == ["info", "--json"]:
    print(json.dumps({{"conda_prefix": base, "platform": "linux-64"}}))
elif arguments == ["--version"]:
    print("conda 99.9.9")
elif arguments[:1] == ["config"]:
    print(json.dumps({{"get": {{"channel_priority": "strict"}}}}))
elif arguments[:2] == ["env", "create"]:
    file = next(value for value in arguments if value.endswith(".yaml"))
    prefix = arguments[arguments.index("--prefix") + 1]
    os.makedirs(os.path.join(prefix, "bin"))
    shutil.copy(file, os.path.join(prefix, "environment.yaml"))
    program = os.path.join(prefix, "bin", "python")
    with open(program, "w") as f:
        f.write("#!/bin/sh\\nexec '{python}' -S '{stand_in}' \\"$@\\"\\n")
    os.chmod(program, 0o755)
elif arguments[:1] != ["clean"]:
    sys.exit(f"unexpected: {{arguments}}")
"""


def test_conda_environment_is_created_from_the_file_and_used(read_only, elsewhere, tmp_path):
    """A stand-in for conda makes the environment: neither conda nor its channels are needed."""
    base = tmp_path / "conda"
    (base / "bin").mkdir(parents=True)
    stand_in = ROOT / "tests/workflow/stand_in.py"
    (base / "bin/conda").write_text(CONDA.format(python=sys.executable, stand_in=stand_in))
    (base / "bin/conda").chmod(0o755)
    (base / "bin/activate").write_text('export PATH="$1/bin:$PATH"\n')
    options = ("--snakefile", str(read_only), "--sdm", "conda")
    variables = {"CONDA_BASE": str(base), "path": base / "bin"}
    dry = elsewhere.snakemake("--dry-run", *options, **variables)
    assert dry.returncode == 0, dry.stderr
    result = elsewhere.snakemake(*options, **variables)
    assert result.returncode == 0, result.stderr
    (environment,) = (elsewhere.root / ".snakemake/conda").glob("*/environment.yaml")
    assert environment.read_text() == (ROOT / "envs/environment.yaml").read_text()
    calls = (elsewhere.root / "calls").read_text().split()
    assert sorted(calls) == sorted(STAGES)


APPTAINER = """\
#!{python}
import os, sys
arguments = sys.argv[1:]
if arguments == ["--version"]:
    print("apptainer version 1.4.5")
    sys.exit()
with open("apptainer-calls", "a") as file:
    print(*arguments, sep="\\n", file=file)
image = arguments.index(os.environ["IMAGE"])
os.execvp(arguments[image + 1], arguments[image + 1:])
"""


def test_containers_see_a_checkout_elsewhere(read_only, elsewhere, finish, tmp_path):
    """A stand-in for apptainer notes what it is called with and runs the command on the host."""
    image = elsewhere.root / "own.sif"
    image.touch()
    programs = tmp_path / "apptainer"
    programs.mkdir()
    (programs / "apptainer").write_text(APPTAINER.format(python=sys.executable))
    (programs / "apptainer").chmod(0o755)
    finish(
        elsewhere,
        *("results/datasets/vader-sentiment", "--snakefile", str(read_only), "--sdm", "apptainer"),
        *("--config", "container={image: own.sif}"),
        IMAGE="own.sif",
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
    )
    calls = (elsewhere.root / "apptainer-calls").read_text().splitlines()
    binds = [calls[i + 1] for i, word in enumerate(calls) if word == "--bind"]
    assert str(read_only.parent) in binds
    assert (elsewhere.root / "results/datasets/vader-sentiment").is_dir()
