"""The one mechanism by which this process and installed packages add CLIPs, methods and upsamplers."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from segearth import plugins
from segearth.clips import resolving, upsamplers
from segearth.errors import UserError
from segearth.models import attention
from segearth.plugins import Registry


@pytest.fixture
def registry(monkeypatch) -> Registry:
    """A table of two parts, and a package with two more."""
    points = [EntryPoint("tau", "math:tau", "g"), EntryPoint("gone", "no_such_module:x", "g")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: EntryPoints(p for p in points if p.group == group))
    return Registry("angle", "g", {"half": 0.5, "pi": "math:pi"})


def test_parts_of_the_table_and_of_packages(registry):
    assert registry.names() == ["half", "pi", "gone", "tau"]
    assert [registry.has(name) for name in ("half", "tau", "none", None, 3)] == [True, True, False, False, False]
    assert [registry.load(name) for name in ("half", "pi", "tau")] == [0.5, 3.141592653589793, 6.283185307179586]
    with pytest.raises(UserError, match=r"the angle 'gone' of another package cannot be loaded \(ModuleNotFoundError"):
        registry.load("gone")


def test_a_name_is_given_once(registry):
    registry.register("right", 1.57)
    registry.register("right", 1.57)  # a module that is imported twice
    assert registry.load("right") == 1.57
    with pytest.raises(UserError, match="there is an angle 'half' already: expected a new name"):
        registry.register("half", 1)


def test_the_three_tables_use_it():
    registries = (resolving.REGISTRY, attention.REGISTRY, upsamplers.REGISTRY)
    assert [registry.group for registry in registries] == ["segearth.clips", "segearth.methods", "segearth.upsamplers"]
    assert [len(registry.table) for registry in registries] == [
        *(len(resolving.CLIPS), len(attention.METHODS), len(upsamplers.UNTRAINED)),
    ]
