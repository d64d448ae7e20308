"""The digest of code changes with what decides results, and with nothing else."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import segearth
from segearth.code_digest import code_digest, import_closure
from segearth.openmmlab.identity import _DECIDING

DIGEST = "55df6d78e469f92f2b15137e80c1cd5d72985d01b2a4aa97ff45a88025c76849"  # of 3.10, 3.11, 3.12 and 3.13
PACKAGE = Path(segearth.__file__).parent


DECIDES = """
    architectures building checkpoints clip_names colours files images tiff vocabulary weights windows
    models models.attention models.dense_clip models.segearth models.simfeatup models.text models.triton_kernels
    datasets datasets.description
    openmmlab.datasets openmmlab.metric openmmlab.model_weights openmmlab.reading openmmlab.segmentor
"""
DECIDES_NOTHING = """
    batch cli distributed exits loading outputs paper
    pictures predictor provenance result results summary synthetic training datasets.archives datasets.check
    datasets.label_counts datasets.manifest datasets.prepare datasets.sets.loveda
    openmmlab.config openmmlab.data_paths openmmlab.eval_runner openmmlab.evaluate openmmlab.hooks openmmlab.labels
    openmmlab.run_record jobs.attempt jobs.executor jobs.folder jobs.ledger jobs.settings jobs.shards jobs.team
    jobs.workers
"""


def test_what_decides_the_results_of_an_evaluation():
    found = set(import_closure(*_DECIDING))
    assert found >= {f"segearth.{name}" for name in DECIDES.split()}
    others = tuple(f"segearth.{name}." for name in DECIDES_NOTHING.split())
    assert [name for name in found if f"{name}.".startswith(others)] == []


@pytest.fixture
def digest(tmp_path) -> Callable[[], str]:
    """Digests a copy of the sources in another folder, as an installation has them."""
    shutil.copytree(PACKAGE, tmp_path / "segearth", ignore=shutil.ignore_patterns("data", "__pycache__"))

    def go() -> str:
        code_digest.cache_clear()
        return code_digest(*_DECIDING, root=tmp_path)

    return go


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_what_changes_the_digest(tmp_path, digest):
    """Edits of code that decides results, not of docstrings, comments, layout or other modules."""
    copy = tmp_path / "segearth"
    before = digest()
    assert before == code_digest(*_DECIDING)

    edit(copy / "checkpoints.py", '"""Reads weights from files', '"""How weights are read from files')
    edit(copy / "models" / "attention.py", "\nimport", "\n# a comment\nimport")
    edit(copy / "openmmlab" / "metric.py", "        self.clock =", "        'A text alone.'\n\n        self.clock =")
    windows = copy / "windows.py"
    windows.write_bytes(windows.read_bytes().replace(b"\n", b"\r\n"))
    weights = copy / "weights.py"
    weights.write_text(ast.unparse(ast.parse(weights.read_text(encoding="utf-8"))), encoding="utf-8")
    for module in ("paper/report.py", "cli/eval.py", "openmmlab/hooks.py"):
        edit(copy / module, "\nimport", "\n_ADDED = 1\nimport")
    edit(copy / "__init__.py", "__version__ = ", "__version__ = '9' + ")
    assert digest() == before

    digests = [before]
    for module in ("checkpoints.py", "weights.py", "models/triton_kernels.py"):  # the last is imported in a function
        edit(copy / module, "\nimport", "\n_ADDED = 1\nimport")
        digests.append(digest())
    assert len(set(digests)) == 4


SOURCES = {
    "__init__.py": "from segearth import unrelated",
    "unrelated.py": "",
    "start.py": """
        import os, segearth.one
        from segearth import two, three as third
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from segearth import unrelated
        else:
            from segearth import four
        def function():
            from segearth.parts import five
            if five:
                from .parts.six import name
        """,
    "one.py": "import numpy",
    "two.py": "from . import start",
    "three.py": "",
    "four.py": "",
    "parts/__init__.py": "from segearth import unrelated",
    "parts/five.py": "from .seven import *",
    "parts/six.py": "from ..eight import name\nfrom .. import nine",
    "parts/seven.py": "",
    "eight/__init__.py": "from .ten import name",
    "eight/ten.py": "name = 1",
    "nine.py": "from segearth.nine_of import name",
}


def test_all_forms_of_imports(tmp_path):
    for name, text in SOURCES.items():
        path = tmp_path / "segearth" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.splitlines()
        path.write_text("\n".join(line[8:] if line.startswith(" " * 8) else line for line in lines), encoding="utf-8")
    found = import_closure("segearth.start", root=tmp_path)
    names = "start one two three four parts.five parts.six parts.seven eight eight.ten nine"
    assert set(found) == {f"segearth.{name}" for name in names.split()}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("f()", "f( )  # nothing", True),
        ("f()", "f('')", False),
        ("x = ['']", "x = []", False),
        ("f(None)", "f()", False),
        ("x = 1", "x = 1.0", False),
        ("x = 'é'", "x = '\\xe9'", True),
        ("def f(): 'text'; return 1", "def f(): return 1", True),
        ("def f(): return 'text'", "def f(): return 'other'", False),
        ("x = f'{a:{b}}'", "x = f'{a:{b}}' ''", True),
        ("x = f'{a}'", "x = f'{a!r}'", False),
    ],
)
def test_what_is_the_same_code(tmp_path, one, other, same):
    digests = []
    for name, text in (("one", one), ("other", other)):
        (tmp_path / name / "segearth").mkdir(parents=True)
        (tmp_path / name / "segearth" / "start.py").write_text(text, encoding="utf-8")
        digests.append(code_digest("segearth.start", root=tmp_path / name))
    assert (digests[0] == digests[1]) is same


def test_the_digest_does_not_depend_on_the_version_of_python(tmp_path):
    """Of a text with what versions parse differently: f-strings, and definitions with fields for type parameters."""
    (tmp_path / "segearth").mkdir()
    (tmp_path / "segearth" / "start.py").write_text(
        "@property\nclass A(list):\n    'Text.'\n    x: int = 3\n\n    async def f(self, /, a, *b, c=1, **d) -> None:\n"
        "        return f'{a!r:>{c}} é {b}' 'more' f'{c:>{a}}', a[1:2, ::3], -1.5e300, b'\\xff', ..., None, True, 2j\n",
        encoding="utf-8",
    )
    assert code_digest("segearth.start", root=tmp_path) == DIGEST
