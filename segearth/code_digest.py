"""What a module's results depend on: the modules of this package that it imports, and a digest of what they do.

    digest = code_digest("segearth.openmmlab.segmentor", "segearth.openmmlab.metric")

Nothing is imported for it: sources are parsed. Docstrings, comments and layout are no part of the digest.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent  # the folder that the package is in
PACKAGE = Path(__file__).parent.name

# What the parser notes but Python does not act on.
_IDLE = ("ctx", "kind", "type_comment", "type_ignores")


@cache
def code_digest(*modules: str, root: Path = ROOT) -> str:
    """SHA-256 over the syntax trees of modules and of all that they import from this package.

    It is computed once in a process, whose code is that which it began with. The form of a tree is our own, since that
    of `ast.dump` changes between versions of Python: what is empty is left away, so that a field that a version adds
    makes no difference where it is not used. Python 3.10 to 3.13 give the same digests.

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
    imported from it; that it is the parent of a module does not make it decide anything. Modules whose names are
    computed are not seen.

    Args:
        modules: their full names.
        root: the folder that the package is in.
    """
    found: dict[str, ast.Module] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or (path := _file(name, root)) is None:
            continue
        found[name] = ast.parse(path.read_bytes())
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for origin, names in _imports(found[name], package):
            submodules = [f"{origin}.{one}" for one in names if _file(f"{origin}.{one}", root) is not None]
            waiting += submodules
            if len(submodules) < len(names) or not names:
                waiting.append(origin)
    return found


def _file(module: str, root: Path) -> Path | None:
    """The source of a module of this package; None for what is no module of it."""
    if module.partition(".")[0] != PACKAGE:
        return None
    path = root.joinpath(*module.split("."))
    return next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None)


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[str, list[str]]]:
    """What is imported: modules by full name, each with the names that are taken from it.

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
    """Whether it is `TYPE_CHECKING`, or `typing.TYPE_CHECKING`."""
    return (test.id if isinstance(test, ast.Name) else getattr(test, "attr", None)) == "TYPE_CHECKING"


def _write(value: object, parts: list[str]) -> None:
    """Adds a tree, or a part of one, as text that only depends on what it does."""
    if isinstance(value, ast.AST):
        parts.append(f"{type(value).__name__}(")
        for name, content in ast.iter_fields(value):
            if isinstance(value, ast.JoinedStr):  # Python 3.12 has empty parts in some f-strings
                content = [part for part in value.values if not (isinstance(part, ast.Constant) and part.value == "")]
            if content is not None and content != [] and name not in _IDLE:
                parts.append(f"{name}=")
                _write(content, parts)
        parts.append(")")
    elif isinstance(value, list):
        parts.append("[")
        for one in value:
            if not _is_text_alone(one):
                _write(one, parts)
        parts.append("]")
    else:
        parts.append(f"{type(value).__name__} {value!a},")  # !a: which letters repr() escapes depends on the version


def _is_text_alone(node: object) -> bool:
    """Whether it is a statement that is only a string: a docstring, of whatever it may be."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
