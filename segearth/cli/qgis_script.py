"""`segearth qgis-script`: where the Processing script for QGIS is, and how it gets into QGIS."""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
from pathlib import Path

from segearth.errors import UserError, option
from segearth.exits import OK, say
from segearth.paths import user_path
from segearth.weights import packaged

HELP = "Tell where the Processing script for QGIS is, or install it there."
SCRIPT = "segearth_qgis.py"
_PROGRAM = 'INSTALLED_BY = ""'  # the line of the script that is to name this program


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whether it is installed, and where."""
    parser.add_argument("--install", action="store_true", help="copy it into QGIS's profile, so that QGIS finds it")
    parser.add_argument(
        "--profile", type=Path, metavar="FOLDER", help="of QGIS: Settings > User Profiles shows it (the default one)"
    )


def run(args: argparse.Namespace) -> int:
    """Prints its path, or installs it and prints where."""
    if not args.install:
        if args.profile is not None:
            raise UserError(
                f"{option('profile', args.profile)} is where the script is installed: expected {option('install')}, "
                "too; give it"
            )
        print(packaged(SCRIPT))
        return OK
    for profile in _profiles(args.profile):
        print(install(profile))
    say("in QGIS: Processing Toolbox > Scripts > SegEarth; one that is open shows it after a restart")
    return OK


def install(profile: Path) -> Path:
    """Copies the script into a profile of QGIS, with the path of this program in it; gives its place.

    Args:
        profile: its folder.

    Raises:
        UserError: another file has its name, or it cannot be written.
    """
    from segearth.outputs import atomic, writable_folder

    text = packaged(SCRIPT).read_text(encoding="utf-8")
    own = text.splitlines()[0]  # by which earlier versions are known
    path = writable_folder(profile / "processing" / "scripts") / SCRIPT
    if path.exists() and not path.read_bytes().startswith(own.encode()):
        raise UserError(
            f"{path} is there, and is not the script of segearth: expected no other file of that name; rename it"
        )
    with atomic(path) as part:
        part.write_text(text.replace(_PROGRAM, f"INSTALLED_BY = {_this_program()!r}", 1), encoding="utf-8")
    return path


def _this_program() -> str:
    """The program segearth of this environment; empty where it has none."""
    path = Path(sysconfig.get_path("scripts"), "segearth.exe" if os.name == "nt" else "segearth")
    return str(path) if path.is_file() else ""


def _profiles(given: Path | None) -> list[Path]:
    """The profiles of QGIS to install into: the one that was given, else the default one of each version.

    Raises:
        UserError: there is none.
    """
    if given is not None:
        found = user_path(given, "profile")
        if not found.is_dir():
            raise UserError(
                f"no folder at {option('profile', found)}: expected a profile of QGIS; in QGIS, Settings > User "
                "Profiles > Open Active Profile Folder shows it"
            )
        return [found]
    roots = {
        "win32": Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming"),
        "darwin": Path.home() / "Library" / "Application Support",
    }
    data = roots.get(sys.platform, Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"))
    places = [data / "QGIS" / version / "profiles" / "default" for version in ("QGIS3", "QGIS4")]
    if not (there := [place for place in places if place.is_dir()]):
        raise UserError(
            f"no profile of QGIS at {places[0]}: expected QGIS to have been started once; start it, or give the folder "
            f"of its profile by {option('profile', 'FOLDER')}, or add the file {packaged(SCRIPT)} in QGIS: Processing "
            "Toolbox > Scripts > Add Script to Toolbox"
        )
    return there
