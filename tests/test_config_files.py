from pathlib import Path

import pytest

from segearth import config_files
from segearth.config_files import config_names, configs_folder, find_config
from segearth.errors import UserError


def test_names_and_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "loveda" in config_names()
    for name in ("loveda", "cfg_loveda", "cfg_loveda.py", "LoveDA"):
        assert find_config(name) == configs_folder() / "cfg_loveda.py"
    Path("loveda").write_text("")  # a path that exists comes first
    assert find_config("loveda") == Path("loveda")
    with pytest.raises(UserError, match=r"no config lovedo.*loveda"):
        find_config("lovedo")
    with pytest.raises(UserError, match="no config"):
        find_config("elsewhere/loveda.py")


def test_an_installation_without_configs_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(config_files, "_PACKAGE", tmp_path / "segearth")
    with pytest.raises(UserError, match="install segearth again"):
        configs_folder()
    (tmp_path / "segearth" / "configs").mkdir(parents=True)
    (tmp_path / "segearth" / "configs" / "base_config.py").write_text("")
    assert configs_folder() == tmp_path / "segearth" / "configs"
