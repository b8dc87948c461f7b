"""Tests of the index of tasks."""

from pathlib import Path

import lm_eval.tasks
import pytest
from lm_eval.tasks import TaskManager

from blossomtune.benchmarks.flowertune import FLOWERTUNE_DIR
from blossomtune.benchmarks.task_index import (
    get_task_file,
    index_tasks,
    list_task_configs,
    require_code_execution,
    require_known_names,
)
from blossomtune.config.benchmarks import BenchmarkSettings
from blossomtune.errors import UserError


def build(task, **settings):
    return BenchmarkSettings(task=task, **settings).model_dump(mode="json")


@pytest.fixture
def own(task_folder):
    return TaskManager(include_path=task_folder, include_defaults=False)


def list_names(manager, name):
    return [config["task"] for config in list_task_configs(manager, name)]


@pytest.fixture(scope="module")
def known():
    """Return an index of FlowerTune's suites and of the folders of lm_eval with their tasks."""
    folder = Path(lm_eval.tasks.__file__).parent
    names = ("mmlu/default", "pubmedqa", "medmcqa", "medqa", "careqa", "mbpp", "humaneval", "arc")
    folders = [FLOWERTUNE_DIR, *(folder / name for name in names)]
    return TaskManager(include_path=folders, include_defaults=False)


def test_suites_of_flowertune_have_known_tasks(known):
    assert len(list_names(known, "flowertune-general")) == 19 + 12 + 13  # as FlowerTune lists
    assert list_names(known, "flowertune-medical")[:2] == ["pubmedqa", "medmcqa"]
    assert list_names(known, "flowertune-finance")[2] == "flowertune_tfns"
    assert sorted(list_names(known, "ai2_arc")) == ["arc_challenge", "arc_easy"]  # a tag
    with pytest.raises(UserError, match=r"runs code .* \(tasks: mbpp, humaneval\)"):
        require_code_execution(known, [build("flowertune-code")])


def test_unknown_name_is_an_error_with_similar_names(known):
    require_known_names(known, ["arc_easy", "mmlu_stem", "ai2_arc"])
    with pytest.raises(UserError, match="'arc_eazy' is no task, group or tag") as error:
        require_known_names(known, ["arc_easy", "arc_eazy"])
    assert "did you mean 'arc_easy'" in str(error.value)
    with pytest.raises(UserError, match="`lm_eval ls tasks` lists all names"):
        require_known_names(known, ["zzzzzz"])


def test_files_of_ones_own_are_enough_for_their_tasks(task_folder):
    manager = index_tasks([build("both", include_path=task_folder), build("write")])
    assert manager.all_subtasks == ["choose", "choose_again", "unsafe", "write"]


def test_folder_without_task_files_is_an_error(tmp_path):
    with pytest.raises(UserError, match="has no task file"):
        index_tasks([build("choose", include_path=str(tmp_path))])


def test_code_is_executed_with_permission_only(own):
    with pytest.raises(UserError, match="runs code that the model writes"):
        require_code_execution(own, [build("choose"), build("unsafe")])
    require_code_execution(own, [build("choose"), build("unsafe", allow_code_execution=True)])


def test_data_of_a_group_cannot_be_replaced(own):
    assert get_task_file(own, "choose").name == "choose.yaml"
    with pytest.raises(UserError, match="'both' is several"):
        get_task_file(own, "both")
