"""docs/architecture.md says what may import what: the code agrees."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import segearth

PACKAGE = Path(segearth.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")


def drawn() -> tuple[dict[str, int], dict[str, str]]:
    """The layer of each room, and the room of each module directly in the package, as the picture has them."""
    layers, rooms, layer = {}, {}, -1
    for line in PAGE.splitlines():
        if found := re.match(r"\s*subgraph L(\d+)", line):
            layer = int(found[1])
        elif found := re.match(r'\s*(\w+)\["([^"]+)"\]', line):
            room, text = found.groups()
            layers[room] = layer
            name, _, names = text.partition(": ")
            if not name.endswith("/"):  # no package
                rooms |= dict.fromkeys(names.split(", "), room)
    return layers, rooms


def modules() -> Iterator[tuple[str, Path]]:
    """All modules, by their names below the package: "jobs.team"."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] != "data" and parts not in (("__init__",), ("__main__",)):
            yield ".".join(part for part in parts if part != "__init__"), path


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """What a module imports of the package, below it, and whether that is done when it is imported itself."""

    def visit(node: ast.AST, at_once: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "segearth":
            below = (node.module or "").partition(".")[2]
            for alias in node.names:
                yield below or alias.name, at_once
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_once and not inside)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), True)


def room_of(module: str, rooms: dict[str, str]) -> str:
    first = module.partition(".")[0]
    return first if (PACKAGE / first).is_dir() else rooms[first]


def upward(at_once: bool) -> set[tuple[str, str, str]]:
    """Imports that do not go down: the importing room, its module, and the room that is imported."""
    layers, rooms = drawn()
    found = set()
    for module, path in modules():
        here = room_of(module, rooms)
        for target, now in imports(path):
            if now != at_once or target.startswith("__") or not target:
                continue
            there = room_of(target, rooms)
            if there != here and layers[there] >= layers[here]:
                found.add((here, module, there))
    return found


def test_each_module_has_one_room():
    layers, rooms = drawn()
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert set(layers) == folders | set(rooms.values())
    assert set(rooms) == {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert re.findall(r"L(\d+)", PAGE.partition("L9 -->")[2]) == [str(layer) for layer in range(8, -1, -1)]


def test_imports_go_down():
    assert upward(at_once=True) == set()


def test_later_imports_go_down_but_for_those_of_the_table():
    table = {
        (module, room)
        for module, targets in re.findall(r"^\| (\w+) \| ([\w, ]+) \|", PAGE, re.MULTILINE)
        if module != "from"
        for room in targets.split(", ")
    }
    assert {(module, there) for _, module, there in upward(at_once=False)} == table


def test_files_that_the_page_names_are_there():
    names = set(re.findall(r"`(?:segearth/)?((?:\w+/)*\w+\.py)`", PAGE))
    assert len(names) > 25
    files = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    names.remove("tests/test_architecture.py")
    assert [name for name in names if not any(f"/{file}".endswith(f"/{name}") for file in files)] == []
