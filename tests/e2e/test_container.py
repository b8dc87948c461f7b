"""The Apptainer image that the workflow builds, and a stage that runs in it."""

import os
import subprocess
import sys

import pytest
from checkout import ROOT
from small_workflow import IMAGE, PARTITION, run_snakemake


def read_files(folder):
    """Return the bytes of every file in a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run_in_image(home, *command, **environment):
    """Run a command in the image of a workflow; return its output."""
    return subprocess.run(
        ["apptainer", "exec", "--home", str(home), str(home / IMAGE), *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_image_is_not_built_without_the_flag(create_workflow):
    output = run_snakemake(create_workflow("plain"), "--dry-run", PARTITION)
    assert "rule partition:" in output
    assert "rule container:" not in output


@pytest.mark.engine
def test_stage_writes_the_same_bytes_in_the_image(container_workflow, create_workflow):
    outside = create_workflow("outside")
    run_snakemake(outside, PARTITION)
    assert not (outside / IMAGE).exists()
    for folder in ("results/datasets/words", PARTITION):
        assert read_files(container_workflow / folder) == read_files(outside / folder)


@pytest.mark.engine
def test_image_contains_locked_packages_only(container_workflow):
    def parse_pins(text):
        lines = [line for line in text.splitlines() if line[:1].isalnum()]
        return {line.split()[0].split("+")[0].lower().replace("_", "-") for line in lines}

    locked = parse_pins((ROOT / "envs" / "requirements.lock").read_text())
    installed = parse_pins(run_in_image(container_workflow, "pip", "freeze", "--all"))
    assert [pin for pin in installed - locked if not pin.startswith("pip==")] == []
    assert len(installed) > 100


@pytest.mark.engine
def test_image_contains_the_code_for_other_organisations(container_workflow):
    scripts = "/opt/blossomtune/workflow_scripts"
    assert "--folder" in run_in_image(container_workflow, "python", f"{scripts}/join.py", "--help")
    assert run_in_image(container_workflow, "find", scripts, "-name", "__pycache__") == ""


@pytest.mark.engine
def test_host_environment_does_not_reach_the_image(container_workflow, tmp_path):
    log = (container_workflow / "results/logs/container/build.log").read_text()
    assert "LEAKED" not in log
    assert run_in_image(container_workflow, "ls", "-A", "/mnt") == ""
    print_pip_settings = "cat /etc/pip.conf ~/.config/pip/pip.conf || true"
    assert run_in_image(container_workflow, "sh", "-c", print_pip_settings) == ""

    (tmp_path / "torch.py").write_text("raise SystemExit('the host reaches into the image')")
    code = "import sys, numpy; print(sys.prefix, numpy.__file__)"
    paths = run_in_image(container_workflow, "python", "-c", code, PYTHONPATH=str(tmp_path)).split()
    assert paths[0] == "/opt/venv"
    assert paths[1].startswith("/opt/venv/")


@pytest.mark.engine
def test_ray_starts_in_the_image(container_workflow):
    code = "import ray; ray.init(num_cpus=1); print(ray.get(ray.remote(lambda: 6 * 7).remote()))"
    assert run_in_image(container_workflow, "python", "-c", code).split()[-1] == "42"


@pytest.mark.engine
def test_only_an_edited_definition_rebuilds_the_image(container_workflow):
    definition = container_workflow / "containers" / "blossomtune.def"
    dry_run = ("--use-singularity", "--dry-run", PARTITION)
    definition.touch()
    assert "Nothing to be done" in run_snakemake(container_workflow, *dry_run)
    before = definition.read_text()
    definition.write_text(before + "\n%labels\n    edited yes\n")
    assert "rule container:" in run_snakemake(container_workflow, *dry_run)
    definition.write_text(before)


@pytest.mark.engine
def test_missing_base_is_an_error_that_names_its_keys(engine, tmp_path):
    engine("apptainer")
    command = [sys.executable, "workflow_scripts/build_image.py", "--base", str(tmp_path / "none")]
    command += ["--definition", "containers/blossomtune.def", "--lock", "envs/requirements.lock"]
    result = subprocess.run(
        [*command, "--output", str(tmp_path / "x.sif")], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "container.base" in result.stderr
    assert "container.image" in result.stderr
    assert list(tmp_path.iterdir()) == []
