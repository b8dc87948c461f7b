import pytest

from blossomtune import library

ROOMS = ("data", "federation", "evaluation", "reporting")
MAY_USE = {
    "fetch_model": "data",
    "download": "data",
    "partition": "data",
    "preprocess": "data",
    "federate": "federation",
    "merge": "federation",
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
        monkeypatch.setattr(library, "SCRIPTS", tmp_path / "workflow_scripts")
        return lambda step: [f.removeprefix("workflow_scripts/") for f in library.sources(step)]

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
    (library.SCRIPTS / "blossomtune" / "__init__.py").write_text("")
    (library.SCRIPTS / "blossomtune" / "room" / "__init__.py").write_text(
        "from blossomtune import leaf\n"
    )
    (library.SCRIPTS / "blossomtune" / "leaf.py").write_text("")
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
            "step__py": "from blossomtune.room import a\nfrom blossomtune.launch import b\n",
            "blossomtune__room__a__py": "1",
            "blossomtune__launch__b__py": "1",
            "blossomtune__other__py": "1",
        }
        library_of(**texts | changed)
        library.digest.cache_clear()
        library._uses.cache_clear()
        return library.digest("step")

    first = digest()
    assert digest(blossomtune__launch__b__py="2") == first
    assert digest(blossomtune__other__py="2") == first
    assert digest(step__py="from blossomtune.room import a\n") == first
    assert digest(blossomtune__room__a__py="2") != first
    library.digest.cache_clear()
    library._uses.cache_clear()


@pytest.mark.parametrize(("step", "room"), MAY_USE.items(), ids=list(MAY_USE))
def test_a_stage_lists_no_room_but_its_own(step, room):
    listed = library.sources(step)
    assert f"workflow_scripts/{step}.py" in listed
    assert any(f"/{room}/" in file for file in listed)
    for other in set(ROOMS) - {room}:
        assert not any(f"/{other}/" in file for file in listed)
    assert ("/launch/" in " ".join(listed)) == (step == "federate")


def test_stages_of_one_room_do_not_list_one_another():
    listed = {step: "\n".join(library.sources(step)) for step in MAY_USE}
    assert "tokenise.py" not in listed["partition"]
    assert "partitioners.py" not in listed["preprocess"]
    assert "rounds.py" not in listed["merge"]
    assert "merging.py" not in listed["federate"]


def test_templates_and_style_sheets_are_listed():
    assert {f.rpartition(".")[2] for f in library.sources("report")} == {"py", "css", "jinja"}
    assert "workflow_scripts/blossomtune/federation/model_card.md.jinja" in library.sources("merge")
