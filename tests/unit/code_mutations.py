"""Remove one move between devices from a function, to see whether a test fails."""

import ast
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, ModuleType
from typing import Any


def list_moves(module: ModuleType) -> list[int]:
    """Return the indices of a module's moves: ``.to(device)``, ``.cpu()`` and ``device=…``."""
    tree = ast.parse(inspect.getsource(module))
    return [i for i, node in enumerate(ast.walk(tree)) if _is_move(node)]


def describe_move(module: ModuleType, index: int) -> str:
    """Return file, line and code of a move."""
    nodes = list(ast.walk(ast.parse(inspect.getsource(module))))
    node = nodes[index]
    if isinstance(node, ast.keyword):
        [node] = [n for n in nodes if isinstance(n, ast.Call) and node in n.keywords]
    return f"{module.__name__}:{node.lineno}: {ast.unparse(node)}"


@contextmanager
def without_move(module: ModuleType, index: int) -> Iterator[None]:
    """Run a module's functions without one move; the functions stay the same objects."""
    tree = ast.parse(inspect.getsource(module))
    node = list(ast.walk(tree))[index]
    [function] = [
        outer
        for outer in _iterate_functions(tree.body)
        if any(inner is node for inner in ast.walk(outer[1]))
    ]
    name = function[0]
    mutated = compile(_Remover(node).visit(tree), module.__file__, "exec")
    original = _get_function(module, name)
    code = original.__code__
    original.__code__ = _find_code(mutated, name)
    try:
        yield
    finally:
        original.__code__ = code


def _is_move(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return node.arg == "device" and not isinstance(node.value, ast.Constant)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    if node.func.attr == "to":
        return any(word in ast.unparse(node.args) for word in ("device", "cpu"))
    return node.func.attr == "cpu"


class _Remover(ast.NodeTransformer):
    def __init__(self, node: ast.AST) -> None:
        self.node = node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        node.keywords = [keyword for keyword in node.keywords if keyword is not self.node]
        return node.func.value if node is self.node else node


def _iterate_functions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the outermost functions and methods with their qualified names."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _iterate_functions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node


def _get_function(module: ModuleType, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        value = inspect.getattr_static(value, part)
    return inspect.unwrap(getattr(value, "__func__", value))


def _find_code(code: CodeType, name: str) -> CodeType:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_qualname == name:
                return constant
            if name.startswith(f"{constant.co_qualname}."):
                return _find_code(constant, name)
    raise LookupError(name)
