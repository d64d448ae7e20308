"""Where the configs of the data sets are: in the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

from segearth.errors import UserError

_PACKAGE = Path(__file__).resolve().parent


def configs_folder() -> Path:
    """The folder of the configs that come with segearth.

    Raises:
        UserError: this installation lacks them.
    """
    for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs"):
        if (folder / "base_config.py").is_file():
            return folder
    raise UserError(
        f"this installation of segearth lacks its configs: expected them in {_PACKAGE / 'configs'}; "
        "install segearth again"
    )


def config_names() -> list[str]:
    """The configs' names without `cfg_` and `.py`, such as "loveda"."""
    return sorted(path.stem.removeprefix("cfg_") for path in configs_folder().glob("cfg_*.py"))


def find_config(config: str | Path) -> Path:
    """A config by its path, or by its name where no such path exists.

    Args:
        config: a path, or a name of `config_names`, such as "loveda"; "cfg_loveda" and "cfg_loveda.py" do as well.

    Raises:
        UserError: neither a file nor a name.
    """
    path = Path(config)
    if path.is_file():
        return path
    name = path.name.removeprefix("cfg_").removesuffix(".py")
    names = {known.lower(): known for known in config_names()}
    if path.parent == Path() and name.lower() in names:
        return configs_folder() / f"cfg_{names[name.lower()]}.py"
    where = f"at {path}" if path.suffix or path.parent != Path() else path
    raise UserError(
        f"no config {where}: it is neither a file nor one of {', '.join(names.values())}; give one of these names, "
        "or the path of a config file"
    )
