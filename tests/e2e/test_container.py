"""The container image: built by the workflow, with Apptainer, and used by a stage."""

import os
import subprocess
import sys

import pytest
from checkouts import IMAGE, PARTITION, ROOT, snakemake


def files(folder):
    """The bytes of every file in a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def inside(where, *command, **environment):
    """What a command prints in the image."""
    return subprocess.run(
        ["apptainer", "exec", "--home", str(where), str(where / IMAGE), *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_without_the_flag_there_is_no_image(checkout):
    said = snakemake(checkout("plain"), "--dry-run", PARTITION)
    assert "rule partition:" in said
    assert "rule container:" not in said


@pytest.mark.engine
def test_a_stage_writes_the_same_bytes_in_the_image(built, checkout):
    outside = checkout("outside")
    snakemake(outside, PARTITION)
    assert not (outside / IMAGE).exists()
    for folder in ("results/datasets/words", PARTITION):
        assert files(built / folder) == files(outside / folder)


@pytest.mark.engine
def test_the_image_has_the_locked_packages_alone(built):
    def pins(text):
        lines = [line for line in text.splitlines() if line[:1].isalnum()]
        return {line.split()[0].split("+")[0].lower().replace("_", "-") for line in lines}

    locked = pins((ROOT / "envs" / "requirements.lock").read_text())
    installed = pins(inside(built, "pip", "freeze", "--all"))
    assert [pin for pin in installed - locked if not pin.startswith("pip==")] == []
    assert len(installed) > 100


@pytest.mark.engine
def test_an_organisation_without_a_checkout_finds_the_code_inside(built):
    code = "/opt/blossomtune/workflow_scripts"
    assert "--folder" in inside(built, "python", f"{code}/join.py", "--help")
    assert inside(built, "find", code, "-name", "__pycache__") == ""


@pytest.mark.engine
def test_nothing_of_the_host_is_in_the_image(built, tmp_path):
    log = (built / "results/logs/container/build.log").read_text()
    assert "LEAKED" not in log
    assert inside(built, "ls", "-A", "/mnt") == ""
    assert inside(built, "sh", "-c", "cat /etc/pip.conf ~/.config/pip/pip.conf || true") == ""

    (tmp_path / "torch.py").write_text("raise SystemExit('the host reaches into the image')")
    says = "import sys, numpy; print(sys.prefix, numpy.__file__)"
    paths = inside(built, "python", "-c", says, PYTHONPATH=str(tmp_path)).split()
    assert paths[0] == "/opt/venv"
    assert paths[1].startswith("/opt/venv/")


@pytest.mark.engine
def test_ray_starts_in_the_image(built):
    says = "import ray; ray.init(num_cpus=1); print(ray.get(ray.remote(lambda: 6 * 7).remote()))"
    assert inside(built, "python", "-c", says).split()[-1] == "42"


@pytest.mark.engine
def test_only_an_edited_definition_rebuilds(built):
    definition = built / "containers" / "blossomtune.def"
    again = ("--use-singularity", "--dry-run", PARTITION)
    definition.touch()
    assert "Nothing to be done" in snakemake(built, *again)
    before = definition.read_text()
    definition.write_text(before + "\n%labels\n    edited yes\n")
    assert "rule container:" in snakemake(built, *again)
    definition.write_text(before)


@pytest.mark.engine
def test_a_base_that_is_not_there_is_explained(engine, tmp_path):
    engine("apptainer")
    command = [sys.executable, "workflow_scripts/build_image.py", "--base", str(tmp_path / "none")]
    command += ["--definition", "containers/blossomtune.def", "--lock", "envs/requirements.lock"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "x.sif")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "container.base" in done.stderr
    assert "container.image" in done.stderr
    assert list(tmp_path.iterdir()) == []
