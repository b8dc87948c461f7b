"""Manifests for Kubernetes; no test runs them on a cluster."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

MANIFESTS = Path(__file__).parents[2] / "docs/deployment/kubernetes"
FOLDERS = sorted(path.parent for path in MANIFESTS.rglob("kustomization.yaml"))
FILES = sorted(path for folder in FOLDERS for path in folder.glob("[!k]*.yaml"))
KUBERNETES_VERSIONS = ("1.30", "1.34")


def load_objects():
    """Return all objects of all manifests."""
    return [item for path in FILES for item in yaml.safe_load_all(path.read_text())]


def list_containers():
    """Return the containers of all pods, by image."""
    pods = [
        o["spec"]["template"]["spec"] for o in load_objects() if "template" in o.get("spec", {})
    ]
    return {container["image"]: container for pod in pods for container in pod["containers"]}


@pytest.mark.engine
@pytest.mark.parametrize("release", KUBERNETES_VERSIONS)
def test_manifests_match_the_schemas_of_kubernetes(engine, release):
    program = engine("kubernetes-validate")
    command = [program, "--strict", "--kubernetes-version", release, *map(str, FILES)]
    result = subprocess.run(command, capture_output=True, text=True)
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    assert output.count("passed for resource") == len(load_objects()), output


def test_kustomizations_name_all_manifests():
    for folder in FOLDERS:
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        others = {path.name for path in folder.glob("[!k]*.yaml")}
        assert set(kustomization["resources"]) == others


def test_manifests_only_refer_to_secrets():
    assert "Secret" not in {item["kind"] for item in load_objects()}
    assert len(FILES) == 5
    variables = [v for c in list_containers().values() for v in c.get("env", [])]
    assert variables
    assert not [v for v in variables if re.search("secret|token|password", v["name"], re.I)]


@pytest.mark.parametrize("program", ["superlink", "supernode"])
def test_containers_take_options_of_the_pinned_flower(program):
    [container] = [c for image, c in list_containers().items() if f"{program}:" in image]
    if program == "superlink":
        assert container["image"] == f"flwr/superlink:{version('flwr')}"
    command = [Path(sys.executable).with_name(f"flower-{program}"), "--help"]
    options = set(re.findall(r"--[\w-]+", subprocess.check_output(command, text=True)))
    assert {argument.split("=")[0] for argument in container["args"]} <= options


def test_only_the_paths_of_supernodes_are_passed_on():
    [config] = [item for item in load_objects() if item["kind"] == "ConfigMap"]
    locations = re.findall(r"location (\S+) \{\s*(\w+)", config["data"]["default.conf"])
    assert locations == [("/", "return"), ("/v1/fleet/", "proxy_pass")]
