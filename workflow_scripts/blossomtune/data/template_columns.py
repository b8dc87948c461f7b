"""Analysis of the columns that a template or an expression reads."""

import functools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jinja2 import Environment, meta, nodes
from jinja2.defaults import DEFAULT_NAMESPACE

ROW = "row"
"""The name by which a template reads a column of any name: ``row["any name"]``."""


@dataclass(frozen=True)
class ReadColumns:
    """The columns that a template reads.

    Attributes:
        names: the names that it reads as columns; they may be none, or Jinja's functions.
        uses_row: whether it uses ``row``.
        reads_whole_row: whether it uses ``row`` without a constant column name, so that it may
            read any column.
    """

    names: frozenset[str]
    uses_row: bool
    reads_whole_row: bool

    def select(self, available: Iterable[str]) -> set[str]:
        """Return the columns that the template reads, with those that do not exist.

        Args:
            available: the columns that exist.

        Returns:
            The names; all available columns if the template may read any.
        """
        existing = set(available)
        names = {n for n in self.names if n in existing or n not in DEFAULT_NAMESPACE}
        return names | existing if self.reads_whole_row else names


def find_read_columns(source: str) -> ReadColumns:
    """Find the columns that a valid template reads, by name or as ``row["any name"]``."""
    tree = _get_environment().parse(source)
    names = meta.find_undeclared_variables(tree)
    if ROW not in names:
        return ReadColumns(frozenset(names), uses_row=False, reads_whole_row=False)
    reads = {
        id(base): column
        for base, column in _iter_constant_reads(tree)
        if isinstance(base, nodes.Name) and base.name == ROW
    }
    reads_whole_row = any(
        name.name == ROW and name.ctx == "load" and id(name) not in reads
        for name in tree.find_all(nodes.Name)
    )
    columns = frozenset((names - {ROW}) | set(reads.values()))
    return ReadColumns(columns, uses_row=True, reads_whole_row=reads_whole_row)


def format_row_access(name: str) -> str:
    """Return the expression that reads a column of any name."""
    return f"{ROW}[{json.dumps(name, ensure_ascii=False)}]"


def find_unusual_names(columns: Iterable[str]) -> list[str]:
    """Return the columns that a template can read through ``row`` only."""
    return [name for name in columns if name == ROW or not name.isidentifier()]


@functools.cache
def _get_environment() -> Environment:
    """Return an environment for analysis only; without functions, their names count as columns."""
    environment = Environment(autoescape=False)  # noqa: S701 - nothing is rendered
    environment.globals.clear()
    return environment


def _iter_constant_reads(tree: nodes.Template) -> Iterator[tuple[nodes.Node, str]]:
    """Yield ``x`` and the name of each ``x["name"]`` and ``x.name``."""
    for attribute in tree.find_all(nodes.Getattr):
        if not hasattr(dict, attribute.attr):  # row.items is a method
            yield attribute.node, attribute.attr
    for item in tree.find_all(nodes.Getitem):
        if isinstance(item.arg, nodes.Const) and isinstance(item.arg.value, str):
            yield item.node, item.arg.value
