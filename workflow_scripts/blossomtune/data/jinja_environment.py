"""Sandboxed Jinja2 environments of templates and expressions."""

import functools
from collections.abc import Callable
from typing import Any

from jinja2 import StrictUndefined, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from blossomtune.data.template_output import TEXT_FILTERS, require_text

_CHECK_FILTER = "require_text"


class _Environment(ImmutableSandboxedEnvironment):
    def make_globals(self, d: Any) -> dict[str, Any]:
        # Jinja's ChainMap would take most of the time of a short template
        return dict(self.globals)


@functools.cache
def get_template_environment() -> ImmutableSandboxedEnvironment:
    """Return the environment of templates, which write text only (see ``template_output``)."""
    # no escaping: models read the texts, not browsers
    environment = _Environment(undefined=StrictUndefined, finalize=require_text)
    environment.filters |= {**TEXT_FILTERS, _CHECK_FILTER: require_text}
    return environment


@functools.cache
def get_expression_environment() -> ImmutableSandboxedEnvironment:
    """Return the environment of expressions."""
    return _Environment(undefined=StrictUndefined)


def compile_template(source: str) -> Callable[..., str]:
    """Compile a template.

    Args:
        source: its text.

    Returns:
        A function from the values of names, as one mapping or as keywords, to the rendered text.

    Raises:
        TemplateSyntaxError: if it is not valid Jinja2.
    """
    environment = get_template_environment()
    tree = environment.parse(source)
    # `~` joins any values, and their joint text hides what they were
    for concat in list(tree.find_all(nodes.Concat)):
        concat.nodes = [
            nodes.Filter(node, _CHECK_FILTER, [], [], None, None, lineno=node.lineno)
            for node in concat.nodes
        ]
    return environment.from_string(tree).render


def compile_expression(source: str) -> Callable[..., Any]:
    """Compile an expression.

    Args:
        source: its text.

    Returns:
        A function from the values of names, as one mapping or as keywords, to the value.

    Raises:
        TemplateSyntaxError: if it is not a valid expression of Jinja2.
    """
    return get_expression_environment().compile_expression(source, undefined_to_none=False)
