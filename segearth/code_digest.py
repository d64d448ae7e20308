"""A digest of the code that a module runs: of its own source and of all modules of this package that it imports.

    digest = code_digest("segearth.openmmlab.segmentor", "segearth.openmmlab.metric")

Sources are parsed, not imported. Docstrings, comments and formatting do not change the digest.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent  # the folder that the package is in
PACKAGE = Path(__file__).parent.name

# Fields of the syntax tree that do not change what the code does.
_IGNORED_FIELDS = ("ctx", "kind", "type_comment", "type_ignores")


@cache
def code_digest(*modules: str, root: Path = ROOT) -> str:
    """SHA-256 over the syntax trees of modules and of all that they import from this package.

    It is computed once in a process: the code that runs is the code at its start. Trees are written in our own format,
    as that of `ast.dump` changes between versions of Python. Empty fields are left out, so that a field that a new
    version adds changes nothing where it is not used. Python 3.10 to 3.13 give the same digests.

    Args:
        modules: their full names.
        root: the folder that the package is in.
    """
    digest = hashlib.sha256()
    for name, tree in sorted(import_closure(*modules, root=root).items()):
        parts = [f"{name}\n"]
        _write(tree, parts)
        digest.update("".join(parts).encode())
    return digest.hexdigest()


def import_closure(*modules: str, root: Path = ROOT) -> dict[str, ast.Module]:
    """The syntax trees of modules and of all that they import from this package, directly or not, by full name.

    Imports inside functions count, those under `if TYPE_CHECKING` do not. A package's `__init__` counts if something is
    imported from it, not merely as the parent of an imported module. Imports by computed names are not trees.

    Args:
        modules: their full names.
        root: the folder that the package is in.
    """
    trees: dict[str, ast.Module] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in trees or (path := _file(name, root)) is None:
            continue
        trees[name] = ast.parse(path.read_bytes())
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for origin, names in _imports(trees[name], package):
            submodules = [f"{origin}.{name}" for name in names if _file(f"{origin}.{name}", root) is not None]
            waiting += submodules
            if len(submodules) < len(names) or not names:
                waiting.append(origin)
    return trees


def _file(module: str, root: Path) -> Path | None:
    """The source file of a module of this package; None for other modules."""
    if module.partition(".")[0] != PACKAGE:
        return None
    path = root.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[str, list[str]]]:
    """The imports in a tree: full module names, each with the names imported from it.

    Args:
        tree: of a module, or a part of it.
        package: the one that the module is in.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: -(node.level - 1) or None] if node.level else []
            yield ".".join([*above, *([node.module] if node.module else [])]), [alias.name for alias in node.names]
        elif isinstance(node, ast.If) and _is_for_types(node.test):
            for other in node.orelse:
                yield from _imports(ast.Module([other], []), package)
        else:
            yield from _imports(node, package)


def _is_for_types(test: ast.expr) -> bool:
    """Whether a test is `TYPE_CHECKING` or `typing.TYPE_CHECKING`."""
    return (test.id if isinstance(test, ast.Name) else getattr(test, "attr", None)) == "TYPE_CHECKING"


def _write(value: object, parts: list[str]) -> None:
    """Appends a syntax tree, or a part of one, as text that depends only on what the code does."""
    if isinstance(value, ast.AST):
        parts.append(f"{type(value).__name__}(")
        for name, content in ast.iter_fields(value):
            if isinstance(value, ast.JoinedStr):  # Python 3.12 has empty parts in some f-strings
                content = [part for part in value.values if not (isinstance(part, ast.Constant) and part.value == "")]
            if content is not None and content != [] and name not in _IGNORED_FIELDS:
                parts.append(f"{name}=")
                _write(content, parts)
        parts.append(")")
    elif isinstance(value, list):
        parts.append("[")
        for item in value:
            if not _is_docstring(item):
                _write(item, parts)
        parts.append("]")
    else:
        parts.append(f"{type(value).__name__} {value!a},")  # !a: which characters repr() escapes depends on the version


def _is_docstring(node: object) -> bool:
    """Whether a statement is only a string, such as a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
