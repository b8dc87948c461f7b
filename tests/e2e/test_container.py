"""The workflow builds a container image with Apptainer and runs stages in it."""

import os
import subprocess
import sys

import pytest
from checkouts import IMAGE, PARTITION, ROOT, snakemake


def read_files(folder):
    """Return the bytes of each file in a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run_in_image(checkout, *command, **environment):
    """Return the output of a command in the image."""
    return subprocess.run(
        ["apptainer", "exec", "--home", str(checkout), str(checkout / IMAGE), *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_image_is_not_built_without_the_flag(checkout):
    output = snakemake(checkout("plain"), "--dry-run", PARTITION)
    assert "rule partition:" in output
    assert "rule container:" not in output


@pytest.mark.engine
def test_stage_writes_the_same_bytes_in_the_image(built, checkout):
    outside = checkout("outside")
    snakemake(outside, PARTITION)
    assert not (outside / IMAGE).exists()
    for folder in ("results/datasets/words", PARTITION):
        assert read_files(built / folder) == read_files(outside / folder)


@pytest.mark.engine
def test_image_has_only_the_locked_packages(built):
    def pins(text):
        lines = [line for line in text.splitlines() if line[:1].isalnum()]
        return {line.split()[0].split("+")[0].lower().replace("_", "-") for line in lines}

    locked = pins((ROOT / "envs" / "requirements.lock").read_text())
    installed = pins(run_in_image(built, "pip", "freeze", "--all"))
    assert [pin for pin in installed - locked if not pin.startswith("pip==")] == []
    assert len(installed) > 100


@pytest.mark.engine
def test_image_contains_the_code(built):
    code = "/opt/blossomtune/workflow_scripts"
    assert "--folder" in run_in_image(built, "python", f"{code}/join.py", "--help")
    assert run_in_image(built, "find", code, "-name", "__pycache__") == ""


@pytest.mark.engine
def test_image_contains_nothing_of_the_host(built, tmp_path):
    log = (built / "results/logs/container/build.log").read_text()
    assert "LEAKED" not in log
    assert run_in_image(built, "ls", "-A", "/mnt") == ""
    assert run_in_image(built, "sh", "-c", "cat /etc/pip.conf ~/.config/pip/pip.conf || true") == ""

    (tmp_path / "torch.py").write_text("raise SystemExit('the host reaches into the image')")
    program = "import sys, numpy; print(sys.prefix, numpy.__file__)"
    paths = run_in_image(built, "python", "-c", program, PYTHONPATH=str(tmp_path)).split()
    assert paths[0] == "/opt/venv"
    assert paths[1].startswith("/opt/venv/")


@pytest.mark.engine
def test_ray_starts_in_the_image(built):
    program = "import ray; ray.init(num_cpus=1); print(ray.get(ray.remote(lambda: 6 * 7).remote()))"
    assert run_in_image(built, "python", "-c", program).split()[-1] == "42"


@pytest.mark.engine
def test_only_an_edited_definition_rebuilds_the_image(built):
    definition = built / "containers" / "blossomtune.def"
    arguments = ("--use-singularity", "--dry-run", PARTITION)
    definition.touch()
    assert "Nothing to be done" in snakemake(built, *arguments)
    before = definition.read_text()
    definition.write_text(before + "\n%labels\n    edited yes\n")
    assert "rule container:" in snakemake(built, *arguments)
    definition.write_text(before)


@pytest.mark.engine
def test_missing_base_is_an_error(engine, tmp_path):
    engine("apptainer")
    command = [sys.executable, "workflow_scripts/build_image.py", "--base", str(tmp_path / "none")]
    command += ["--definition", "containers/blossomtune.def", "--lock", "envs/requirements.lock"]
    process = subprocess.run(
        [*command, "--output", str(tmp_path / "x.sif")], cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode == 1
    assert "container.base" in process.stderr
    assert "container.image" in process.stderr
    assert list(tmp_path.iterdir()) == []
