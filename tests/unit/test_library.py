import pytest

from blossomtune import code_dependencies

ROOMS = ("data", "federation", "evaluation", "export", "reporting")
MAY_USE = {
    "fetch_model": "data",
    "download": "data",
    "partition": "data",
    "preprocess": "data",
    "federate": "federation",
    "merge": "export",
    "evaluate": "evaluation",
    "report": "reporting",
}


@pytest.fixture
def library_of(tmp_path, monkeypatch):
    """A function that writes an invented library, a text by path, and returns ``sources``."""

    def write(**texts):
        for name, text in texts.items():
            *folders, stem, suffix = name.split("__")
            file = tmp_path.joinpath("workflow_scripts", *folders, f"{stem}.{suffix}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        monkeypatch.setattr(code_dependencies, "SCRIPTS_DIR", tmp_path / "workflow_scripts")
        return lambda step: [
            f.removeprefix("workflow_scripts/") for f in code_dependencies.list_sources(step)
        ]

    return write


def test_imports_are_followed_wherever_they_stand(library_of):
    sources = library_of(
        step__py="from blossomtune.room.a import thing\nimport json, numpy\n",
        blossomtune__room__a__py="def thing():\n    from blossomtune.room import b\n",
        blossomtune__room__b__py="import blossomtune.leaf\n",
        blossomtune__leaf__py="from blossomtune.room import a\n",
        blossomtune__other__py="",
    )
    assert sources("step") == [
        "blossomtune/leaf.py",
        "blossomtune/room/a.py",
        "blossomtune/room/b.py",
        "step.py",
    ]


def test_packages_above_a_module_run_too(library_of):
    sources = library_of(
        step__py="from blossomtune.room.a import thing\n",
        blossomtune____init____py="",
        blossomtune__room__a__py="",
    )
    (code_dependencies.SCRIPTS_DIR / "blossomtune" / "__init__.py").write_text("")
    (code_dependencies.SCRIPTS_DIR / "blossomtune" / "room" / "__init__.py").write_text(
        "from blossomtune import leaf\n"
    )
    (code_dependencies.SCRIPTS_DIR / "blossomtune" / "leaf.py").write_text("")
    assert sources("step") == [
        "blossomtune/__init__.py",
        "blossomtune/leaf.py",
        "blossomtune/room/__init__.py",
        "blossomtune/room/a.py",
        "step.py",
    ]


def test_files_beside_a_module_count_where_it_names_them(library_of):
    sources = library_of(
        step__py="import blossomtune.room.page\n",
        blossomtune__room__page__py="CSS = 'page.css'\nTEXT = 'a page.jinja in a sentence'\n",
        blossomtune__room__page__css="",
        blossomtune__room__page__jinja="",
        blossomtune__room__other__css="",
    )
    assert sources("step") == [
        "blossomtune/room/page.css",
        "blossomtune/room/page.py",
        "step.py",
    ]


def test_a_digest_is_of_the_librarys_code_wherever_it_runs(library_of):
    def digest(**changed):
        texts = {
            "step__py": "from blossomtune.room import a\nfrom blossomtune.deployment import b\n",
            "blossomtune__room__a__py": "1",
            "blossomtune__deployment__b__py": "1",
            "blossomtune__other__py": "1",
        }
        library_of(**texts | changed)
        code_dependencies.compute_code_digest.cache_clear()
        code_dependencies._find_dependencies.cache_clear()
        return code_dependencies.compute_code_digest("step")

    first = digest()
    assert digest(blossomtune__deployment__b__py="2") == first
    assert digest(blossomtune__other__py="2") == first
    assert digest(step__py="from blossomtune.room import a\n") == first
    assert digest(blossomtune__room__a__py="2") != first
    code_dependencies.compute_code_digest.cache_clear()
    code_dependencies._find_dependencies.cache_clear()


@pytest.mark.parametrize(("step", "room"), MAY_USE.items(), ids=list(MAY_USE))
def test_a_stage_lists_no_room_but_its_own(step, room):
    listed = code_dependencies.list_sources(step)
    assert f"workflow_scripts/{step}.py" in listed
    assert any(f"/{room}/" in file for file in listed)
    for other in set(ROOMS) - {room}:
        assert not any(f"/{other}/" in file for file in listed)
    assert ("/deployment/" in " ".join(listed)) == (step == "federate")


def test_stages_of_one_room_do_not_list_one_another():
    listed = {step: "\n".join(code_dependencies.list_sources(step)) for step in MAY_USE}
    assert "build_tokenized.py" not in listed["partition"]
    assert "partitioners.py" not in listed["preprocess"]
    assert "rounds.py" not in listed["merge"]
    assert "merge.py" not in listed["federate"]


def test_templates_and_style_sheets_are_listed():
    assert {f.rpartition(".")[2] for f in code_dependencies.list_sources("report")} == {
        "py",
        "css",
        "jinja",
    }
    assert (
        "workflow_scripts/blossomtune/export/model_card.md.jinja"
        in code_dependencies.list_sources("merge")
    )
