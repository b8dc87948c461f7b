"""Find tasks of lm-evaluation-harness by name, before any data or model is loaded."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.tasks import TaskManager

from blossomtune.benchmarks.flowertune import FLOWERTUNE_DIR
from blossomtune.errors import UserError
from blossomtune.files import expand_home

KEY = "evaluation.benchmarks"
"""Key of the benchmarks in the configuration."""


def index_tasks(benchmarks: Sequence[Mapping[str, Any]]) -> TaskManager:
    """Index the task files that the benchmarks need.

    Reading the thousands of files of lm-evaluation-harness takes seconds, so they are left out
    where folders of one's own have all tasks.

    Args:
        benchmarks: Blocks of ``evaluation.benchmarks``.

    Returns:
        The index; a task of one's own replaces one of lm-evaluation-harness with the same name.

    Raises:
        UserError: If a folder has no task files, or a name is unknown.
    """
    names = [benchmark["task"] for benchmark in benchmarks]
    named = dict.fromkeys(b["include_path"] for b in benchmarks if b["include_path"])
    folders = [expand_home(folder) for folder in named]
    for folder in folders:
        if not any(folder.rglob("*.yaml")):
            raise UserError(
                f"{KEY}: include_path: {str(folder)!r} has no task file",
                "it is the folder of *.yaml files that define tasks of lm-evaluation-harness",
            )
    own = TaskManager(include_path=[*folders], include_defaults=False)
    if folders and all(_has_all_tasks(own, name) for name in names):
        return own
    manager = TaskManager(include_path=[FLOWERTUNE_DIR, *folders])
    require_known_names(manager, names)
    return manager


def require_known_names(manager: TaskManager, names: Sequence[str]) -> None:
    """Raise UserError if a name is not in an index of tasks.

    Args:
        manager: Index of the tasks.
        names: Names of tasks, groups and tags.
    """
    for name in names:
        if name not in manager.task_index:
            near = difflib.get_close_matches(name, manager.all_tasks, n=3)
            raise UserError(
                f"{KEY}: {name!r} is no task, group or tag of lm-evaluation-harness or of your own",
                f"did you mean {' or '.join(map(repr, near))}?"
                if near
                else "`lm_eval ls tasks` lists all names; include_path names a folder of your own",
            )


def _has_all_tasks(manager: TaskManager, name: str) -> bool:
    """Return whether an index has a name and, if it is a group's, all of the group's tasks."""
    return name in manager.task_index and all(
        _has_all_tasks(manager, member)
        for member in _list_members(manager, name)
        if isinstance(member, str)
    )


def _list_members(manager: TaskManager, name: str) -> list[Any]:
    """Return the tasks of a tag, or the entries of a group; nothing for a task."""
    entry = manager.task_index[name]
    if name in manager.all_groups:
        return list((entry.cfg or {}).get("task") or [])
    return sorted(entry.tags) if name in manager.all_tags else []


def list_task_configs(manager: TaskManager, name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the definitions of a task, or of all tasks of a group or a tag.

    Args:
        manager: Index of the tasks.
        name: A name in the index.

    Yields:
        Content of task files, functions unresolved.
    """
    members = _list_members(manager, name)
    if not members:
        yield manager.task_index[name].cfg or {}
    for member in members:
        is_block = isinstance(member, dict)
        reference = member.get("group") or member.get("task") if is_block else member
        if isinstance(reference, str) and reference in manager.task_index:
            yield from list_task_configs(manager, reference)
        elif is_block:  # defined in the group's file
            yield member


def require_code_execution(manager: TaskManager, benchmarks: Sequence[Mapping[str, Any]]) -> None:
    """Raise UserError if a benchmark runs code that the model writes, and may not.

    Args:
        manager: Index of the tasks.
        benchmarks: Blocks of ``evaluation.benchmarks``.
    """
    for benchmark in benchmarks:
        configs = list_task_configs(manager, benchmark["task"])
        unsafe = [str(config.get("task")) for config in configs if config.get("unsafe_code")]
        if unsafe and not benchmark["allow_code_execution"]:
            raise UserError(
                f"{KEY}: {benchmark['task']!r} runs code that the model writes, on this machine "
                f"and with your rights (tasks: {', '.join(unsafe)})",
                "leave it out, or run in a container and write "
                f"{{task: {benchmark['task']}, allow_code_execution: true}}",
            )


def get_task_file(manager: TaskManager, name: str) -> Path:
    """Return the file that defines a task.

    Args:
        manager: Index of the tasks.
        name: A name in the index.

    Returns:
        Path of the YAML file.

    Raises:
        UserError: If the name is that of a group or a tag.
    """
    file: Path | None = manager.task_index[name].yaml_path
    if name not in manager.all_subtasks or file is None:
        raise UserError(
            f"{KEY}: dataset replaces the data of one task, and {name!r} is several",
            "give each task a block with a data set of its own",
        )
    return file
