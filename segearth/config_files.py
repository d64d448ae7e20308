"""Config files: where those of the data sets are, which files may be one, and what commands change in them.

A config is a Python program, which mmengine runs to read it. Nothing here runs one.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segearth.errors import UserError, option

_PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class ConfigChanges:
    """Changes to a config, as commands take them.

    Attributes:
        options: "key=value" each, nested keys with dots, values as mmengine's `DictAction` reads them.
        data_root: a folder that stands for the leading `data/` of data paths.
        model: what `segearth.clips.resolve` takes; it replaces the config's CLIP and upsampler.
        architecture: of such a model that is given by path or address.
        upsampler: what `segearth.loading.load_model` takes; it replaces the model's or the config's own.
    """

    options: Sequence[str] = ()
    data_root: str | Path | None = None
    model: str | None = None
    architecture: str | None = None
    upsampler: str | None = None


UNCHANGED = ConfigChanges()


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
    if path.is_dir():
        raise UserError(f"{path} is a folder: expected a config file; give the path of a .py file in it")
    where = f"at {path}" if path.suffix or path.parent != Path() else path
    raise UserError(
        f"no config {where}: it is neither a file nor one of {', '.join(names.values())}; give one of these names, "
        "or the path of a config file"
    )


def check_source(path: Path, below: Sequence[Path] = ()) -> None:
    """Refuses a file that is no Python config, or builds on such a file, before any of them runs.

    mmengine reads YAML and JSON, too. YAML can start any program while it is read (`!!python/object/apply`), which
    nobody expects of a file of data.

    Args:
        path: of the config.
        below: the configs that build on it.

    Raises:
        UserError: no Python file, one that cannot be read or has an error of syntax, or a base that is not there.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: expected a config file; give the path of a .py file in it")
    whose = f" ({below[-1]} builds on it)" if below else ""
    if path.suffix != ".py":
        raise UserError(
            f"{path}{whose} is no Python file: expected a config that ends in .py, because other kinds can run code "
            "that nobody sees in them; write its values into a .py file"
        )
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the config {path}{whose} ({error.strerror}): give another file") from None
    except SyntaxError as error:
        raise UserError(
            f"the config {path}{whose} has an error in line {error.lineno} ({error.msg}): expected Python; mend that "
            "line"
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:  # no UTF-8, zero bytes, too deeply nested
        raise UserError(
            f"the config {path}{whose} is no Python text ({error}): save it as UTF-8, or give another"
        ) from None
    for base in _bases(tree, path):
        if "::" in base:  # of an installed package
            if not base.endswith(".py"):
                raise UserError(f"{path} builds on {base}, which is no Python file: expected one that ends in .py")
            continue
        base_file = path.parent / base
        if any(base_file.resolve() == one.resolve() for one in (*below, path)):
            raise UserError(f"the config {path} builds on itself (_base_ = {base!r}): name another file in _base_")
        if not os.path.exists(base_file):  # noqa: PTH110 (False for what is too long to be a path)
            raise UserError(
                f"{path} builds on {base}, but there is no {base_file}: copy that file there, too, or write what "
                f"it sets into {path.name} and remove it from _base_"
            )
        check_source(base_file, (*below, path))


def check_syntax(change: str) -> None:
    """Refuses a change of a config that is not "key=value" with dots between nested keys.

    Raises:
        UserError: it is not.
    """
    key, equals, _ = change.partition("=")
    if not equals:
        wrong = "expected key=value"
    elif not all(part and part == part.strip() for part in key.split(".")):
        wrong = f"a key of {key!r} is empty: expected names with one dot between two"
    else:
        return
    raise UserError(f"{option('options', change, 'cfg_options')}: {wrong}, for example model.prob_thd=0.2")


def _bases(tree: ast.Module, path: Path) -> list[str]:
    """The files of `_base_`, which mmengine reads first, with the variables that it puts in.

    Raises:
        UserError: other than texts that can be known without running the config.
    """
    own = Path(os.path.abspath(path))  # noqa: PTH100 (as mmengine does, links stay)
    variables = {
        "fileDirname": str(own.parent),
        "fileBasename": own.name,
        "fileBasenameNoExtension": own.stem,
        "fileExtname": own.suffix,
    }
    for line in tree.body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) and line.targets[0].id == "_base_":
            try:
                value = ast.literal_eval(line.value)
            except (TypeError, ValueError):
                raise UserError(
                    f"_base_ of {path} is computed ({ast.unparse(line.value)[:100]}): expected the path of a config, "
                    "or a list of paths; write them out"
                ) from None
            bases = value if isinstance(value, list) else [value]
            if not all(isinstance(base, str) for base in bases):
                raise UserError(
                    f"_base_ of {path} is {value!r}: expected the path of a config, or a list of paths; correct it"
                )
            bases = [
                re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: variables.get(found[1], found[0]), base) for base in bases
            ]
            if unknown := [base for base in bases if "{{" in base]:
                raise UserError(
                    f"_base_ of {path} has an unknown variable ({unknown[0]!r}): expected {', '.join(variables)}; "
                    "write the path out"
                )
            return bases
    return []
