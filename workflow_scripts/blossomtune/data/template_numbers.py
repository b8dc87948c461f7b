"""Analysis of the columns that a template uses as numbers."""

from collections.abc import Iterable, Iterator

from jinja2 import Environment, nodes

from blossomtune.artifacts.dataset_manifest import ClassLabels
from blossomtune.data.template_columns import ROW
from blossomtune.errors import UserError

_NUMBER_FILTERS = ("abs", "float", "int", "round")
_NUMBER_TESTS = ("divisibleby", "even", "odd")


def check_class_names(key: str, source: str, class_labels: Iterable[ClassLabels]) -> None:
    """Check that a template does not use class names as the numbers that they replaced.

    A name is never equal to a number and always true, so the text would be wrong without an error.

    Args:
        key: the configuration key that contains the template.
        source: a valid template.
        class_labels: the columns with class names or numbers.

    Raises:
        UserError: if a column with class names is used as a number.
    """
    used = find_number_uses(source)
    for labels in class_labels:
        if labels.used == "names" and not labels.field and labels.column in used:
            raise UserError(
                f"{key}: column {labels.column!r} has class names ({', '.join(labels.names)}), and "
                f"they are used as numbers or truth values\n  template: {source}",
                f"compare it with a name, as in {labels.column} == {labels.names[0]!r}, or with "
                "`is none`; or set class_labels: numbers for the data set",
            )


def find_number_uses(source: str) -> set[str]:
    """Find the names that a template compares or calculates with numbers, or tests for truth.

    Args:
        source: a valid template.

    Returns:
        The names, also of ``row["name"]``.
    """
    tree = Environment(autoescape=False).parse(source)  # noqa: S701 - nothing is rendered
    return {name for node in _iter_number_uses(tree) if (name := _get_column(node)) is not None}


def _iter_number_uses(tree: nodes.Template) -> Iterator[nodes.Node]:
    for operands in _iter_operands(tree):
        if any(map(_has_number, operands)):
            yield from operands
    for conversion in tree.find_all(nodes.Filter):
        if conversion.name in _NUMBER_FILTERS and conversion.node is not None:
            yield conversion.node
    for test in tree.find_all(nodes.Test):
        if test.name in _NUMBER_TESTS:
            yield test.node
    conditions = [statement.test for statement in tree.find_all(nodes.If)]
    conditions += [expression.test for expression in tree.find_all(nodes.CondExpr)]
    for condition in conditions:
        yield from _iter_truth_values(condition)
    for negation in tree.find_all(nodes.Not):
        yield negation.node


def _iter_operands(tree: nodes.Template) -> Iterator[list[nodes.Expr]]:
    for comparison in tree.find_all(nodes.Compare):
        yield [comparison.expr, *(operand.expr for operand in comparison.ops)]
    for calculation in tree.find_all(nodes.BinExpr):
        if not isinstance(calculation, nodes.And | nodes.Or):
            yield [calculation.left, calculation.right]


def _iter_truth_values(condition: nodes.Node) -> Iterator[nodes.Node]:
    """Yield the parts of a condition that are tested for truth themselves."""
    if isinstance(condition, nodes.And | nodes.Or):
        yield from _iter_truth_values(condition.left)
        yield from _iter_truth_values(condition.right)
    else:
        yield condition


def _has_number(node: nodes.Node) -> bool:
    if isinstance(node, nodes.List | nodes.Tuple):
        return any(map(_has_number, node.items))
    if isinstance(node, nodes.Neg):
        return _has_number(node.node)
    return isinstance(node, nodes.Const) and isinstance(node.value, int | float)


def _get_column(node: nodes.Node) -> str | None:
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr | nodes.Getitem):
        if not (isinstance(node.node, nodes.Name) and node.node.name == ROW):
            return None
        if isinstance(node, nodes.Getattr):
            return node.attr
        return str(node.arg.value) if isinstance(node.arg, nodes.Const) else None
    return None
