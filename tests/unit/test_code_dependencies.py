import shutil

import pytest

from blossomtune import code_dependencies

PACKAGES = ("data", "federation", "evaluation", "export", "reporting")
PACKAGE_BY_SCRIPT = {
    "fetch_model": "data",
    "download": "data",
    "partition": "data",
    "preprocess": "data",
    "render_preview": "reporting",
    "federate": "federation",
    "merge": "export",
    "evaluate": "evaluation",
    "report": "reporting",
}


@pytest.fixture
def write_library(tmp_path, monkeypatch):
    """Return a function that writes a library, text by path, and returns ``list_sources``."""

    def write(**texts):
        for name, text in texts.items():
            *folders, stem, suffix = name.split("__")
            file = tmp_path.joinpath("workflow_scripts", *folders, f"{stem}.{suffix}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        monkeypatch.setattr(code_dependencies, "SCRIPTS_DIR", tmp_path / "workflow_scripts")
        return lambda script: [
            f.removeprefix("workflow_scripts/") for f in code_dependencies.list_sources(script)
        ]

    return write


def test_imports_inside_functions_are_followed(write_library):
    list_sources = write_library(
        step__py="from blossomtune.package.a import thing\nimport json, numpy\n",
        blossomtune__package__a__py="def thing():\n    from blossomtune.package import b\n",
        blossomtune__package__b__py="import blossomtune.leaf\n",
        blossomtune__leaf__py="from blossomtune.package import a\n",
        blossomtune__other__py="",
    )
    assert list_sources("step") == [
        "blossomtune/leaf.py",
        "blossomtune/package/a.py",
        "blossomtune/package/b.py",
        "step.py",
    ]


def test_parent_packages_are_listed(write_library):
    list_sources = write_library(
        step__py="from blossomtune.package.a import thing\n",
        blossomtune____init____py="",
        blossomtune__package__a__py="",
    )
    (code_dependencies.SCRIPTS_DIR / "blossomtune" / "__init__.py").write_text("")
    (code_dependencies.SCRIPTS_DIR / "blossomtune" / "package" / "__init__.py").write_text(
        "from blossomtune import leaf\n"
    )
    (code_dependencies.SCRIPTS_DIR / "blossomtune" / "leaf.py").write_text("")
    assert list_sources("step") == [
        "blossomtune/__init__.py",
        "blossomtune/leaf.py",
        "blossomtune/package/__init__.py",
        "blossomtune/package/a.py",
        "step.py",
    ]


def test_adjacent_file_is_listed_if_a_string_is_its_name(write_library):
    list_sources = write_library(
        step__py="import blossomtune.package.page\n",
        blossomtune__package__page__py="CSS = 'page.css'\nTEXT = 'a page.jinja in a sentence'\n",
        blossomtune__package__page__css="",
        blossomtune__package__page__jinja="",
        blossomtune__package__other__css="",
    )
    assert list_sources("step") == [
        "blossomtune/package/page.css",
        "blossomtune/package/page.py",
        "step.py",
    ]


def test_digest_leaves_out_deployment_and_unused_modules(write_library):
    def digest(**changed):
        texts = {
            "step__py": "from blossomtune.package import a\nfrom blossomtune.deployment import b\n",
            "blossomtune__package__a__py": "1",
            "blossomtune__deployment__b__py": "1",
            "blossomtune__other__py": "1",
        }
        write_library(**texts | changed)
        code_dependencies.compute_code_digest.cache_clear()
        code_dependencies._find_dependencies.cache_clear()
        return code_dependencies.compute_code_digest("step")

    first = digest()
    assert digest(blossomtune__deployment__b__py="2") == first
    assert digest(blossomtune__other__py="2") == first
    assert digest(step__py="from blossomtune.package import a\n") == first
    assert digest(blossomtune__package__a__py="2") != first
    code_dependencies.compute_code_digest.cache_clear()
    code_dependencies._find_dependencies.cache_clear()


@pytest.mark.parametrize(
    ("script", "package"), PACKAGE_BY_SCRIPT.items(), ids=list(PACKAGE_BY_SCRIPT)
)
def test_stage_depends_on_no_package_of_another_stage(script, package):
    files = code_dependencies.list_sources(script)
    assert f"workflow_scripts/{script}.py" in files
    assert any(f"/{package}/" in file for file in files)
    for other in set(PACKAGES) - {package}:
        assert not any(f"/{other}/" in file for file in files)
    assert ("/deployment/" in " ".join(files)) == (script == "federate")


def test_stages_do_not_depend_on_modules_of_other_stages():
    files = {s: "\n".join(code_dependencies.list_sources(s)) for s in PACKAGE_BY_SCRIPT}
    assert "build_tokenized.py" not in files["partition"]
    assert "partitioners.py" not in files["preprocess"]
    assert "rounds.py" not in files["merge"]
    assert "merge.py" not in files["federate"]


def test_templates_and_style_sheets_are_dependencies():
    for script, kinds in (
        ("report", {"py", "css", "jinja", "js"}),
        ("render_preview", {"py", "css", "jinja"}),
    ):
        files = code_dependencies.list_sources(script)
        assert {f.rpartition(".")[2] for f in files} == kinds
    assert (
        "workflow_scripts/blossomtune/export/model_card.md.jinja"
        in code_dependencies.list_sources("merge")
    )


def test_digest_of_sources_depends_on_every_file(tmp_path, monkeypatch):
    shutil.copytree(code_dependencies.SCRIPTS_DIR, tmp_path / "workflow_scripts")
    monkeypatch.setattr(code_dependencies, "SCRIPTS_DIR", tmp_path / "workflow_scripts")
    compute = code_dependencies.compute_sources_digest.__wrapped__
    digests = {compute("merge")}
    for name in (
        "merge.py",
        "blossomtune/export/merge.py",
        "blossomtune/export/model_card.md.jinja",
    ):
        with (tmp_path / "workflow_scripts" / name).open("a") as file:
            file.write("\n")
        digests.add(compute("merge"))
    assert len(digests) == 4
    (tmp_path / "workflow_scripts/federate.py").write_text("")
    assert compute("merge") in digests
