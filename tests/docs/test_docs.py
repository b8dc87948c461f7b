"""The documentation: links, code blocks, markers and the site."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from markdown_pages import PAGES, ROOT, anchors, blocks, prose

from blossomtune.config.load import load_configuration

LANGUAGES = {"bash", "python", "text", "yaml"}
NEEDS = {"gpu", "hub", "registry", "default results", "idle machine", "kubernetes"}
LIBRARY = ROOT / "workflow_scripts/blossomtune"
FOLDERS = (".ci", "config", "containers", "docs", "envs", "profiles", "rules", "tests")
PACKAGES = sorted(path.name for path in LIBRARY.iterdir() if (path / "__init__.py").exists())


def overlay(below, above):
    """Return one configuration overlaid with another, as Snakemake does it."""
    both = {k: overlay(below[k], v) for k, v in above.items() if isinstance(below.get(k), dict)}
    return {**below, **above, **both}


def read(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_anchors_resolve(page):
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    for target in targets:
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_named_in_prose_exist(page):
    starts = "|".join(re.escape(name) for name in (*FOLDERS, "workflow_scripts", *PACKAGES))
    for name in re.findall(rf"`((?:{starts})/[\w./-]+)`", prose(page)):
        assert (ROOT / name).exists() or (LIBRARY / name).exists(), name


def test_every_block_names_its_language():
    assert [str(b) for b in blocks() if b.language not in LANGUAGES] == []


@pytest.mark.parametrize("block", [*blocks("bash"), *blocks("python")], ids=str)
def test_commands_and_code_name_their_test_or_what_they_need(block):
    markers = block.markers.keys() & {"test", "needs"}
    assert len(markers) == 1, "write <!-- test: FILE --> or <!-- needs: … --> before the block"
    if "test" in markers:
        assert (ROOT / block.markers["test"]).is_file()
    else:
        assert block.markers["needs"] in NEEDS


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_runs_on_the_finished_default_or_compiles(block):
    compile(block.text, str(block), "exec")
    if not (ROOT / "results/experiments/quickstart/merged/model.safetensors").exists():
        return
    offline = os.environ | {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", block.text]
    done = subprocess.run(command, cwd=ROOT, env=offline, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", sorted({block.page for block in blocks("yaml")}))
def test_configurations_are_valid(page):
    """Each block overlays the blocks before it on the page, and these the default."""
    whole = read("config/config.yaml")
    for block in [block for block in blocks("yaml") if block.page == page]:
        data = yaml.safe_load(block.text)
        if inside := block.markers.get("inside"):
            for key in reversed(inside.split(".")):
                data = {key: data}
        if base := block.markers.get("base"):
            data = overlay(read(base), data)
        together = overlay(whole, data)
        load_configuration(together)
        whole = whole if inside else together


def test_readme_is_short_and_starts_with_what_this_is():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    first = "Federated LoRA fine-tuning of language models, as a Snakemake workflow."
    assert [line for line in lines if line][1] == first


def test_readme_says_on_its_first_screen_what_ran_on_a_gpu():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert "GPU" in "\n".join(lines[:25])


def test_every_page_is_in_the_navigation():
    import tomllib

    listed = set()

    def collect(entries):
        for entry in entries:
            for value in entry.values():
                listed.add(value) if isinstance(value, str) else collect(value)

    collect(tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"])
    assert listed == {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")}


def test_site_builds_strictly_and_loads_nothing_from_other_hosts(tmp_path):
    config = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    (tmp_path / "zensical.toml").write_text(config, encoding="utf-8")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md")))
    for page in pages:
        html = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?([^\s\">]+)", html)
        loaded += re.findall(r"<link[^>]*rel=\"?stylesheet\"?[^>]*href=\"?([^\s\">]+)", html)
        loaded += re.findall(r"<link[^>]*href=\"?([^\s\">]+)\"?[^>]*rel=\"?stylesheet", html)
        assert [url for url in loaded if re.match(r"(https?:)?//", url)] == []
        assert 'class="mermaid"' not in html  # Zensical loads Mermaid from another host
