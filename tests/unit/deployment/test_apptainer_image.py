import pytest

from blossomtune.deployment import apptainer_image
from blossomtune.errors import UserError


def test_base_is_registry_or_folder(tmp_path):
    assert apptainer_image.resolve_bootstrap("docker://python:3.11-slim") == (
        "docker",
        "python:3.11-slim",
    )
    assert apptainer_image.resolve_bootstrap(str(tmp_path)) == ("localimage", str(tmp_path))


def test_missing_base_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"container\.base: .*missing.* does not exist") as raised:
        apptainer_image.resolve_bootstrap(str(tmp_path / "missing"))
    assert "container.image" in str(raised.value)


def test_missing_apptainer_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="neither apptainer nor singularity is installed"):
        apptainer_image.find_apptainer()


def test_files_of_pip_settings_are_mounted(tmp_path):
    wheels, index, build = tmp_path / "wheels", tmp_path / "mirror" / "simple", tmp_path / "build"
    certificates = tmp_path / "ca.pem"
    for folder in (wheels, index, build):
        folder.mkdir(parents=True)
    certificates.touch()
    settings = {
        "index-url": "https://pip.example/simple",
        "extra-index-url": f"https://more.example/simple file://{index}",
        "find-links": str(wheels),
        "cert": str(certificates),
    }
    assert apptainer_image.write_pip_conf(settings, build) == [
        f"{build}:/mnt:ro",
        f"{index.parent}:/mnt/1:ro",
        f"{wheels}:/mnt/2:ro",
        f"{certificates}:/mnt/3:ro",
    ]
    assert (build / "pip.conf").read_text().splitlines() == [
        "[global]",
        "index-url = https://pip.example/simple",
        "extra-index-url = https://more.example/simple file:///mnt/1/simple",
        "find-links = /mnt/2",
        "cert = /mnt/3",
    ]
    assert (build / "2").is_dir()
    assert (build / "3").is_file()
