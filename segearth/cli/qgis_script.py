"""`segearth qgis-script`: prints the path of the Processing script for QGIS, or installs it."""

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
_PROGRAM = 'INSTALLED_BY = ""'  # the line of the script that is replaced by the path of this program


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the installation."""
    parser.add_argument("--install", action="store_true", help="copy it into QGIS's profile, so that QGIS finds it")
    parser.add_argument(
        "--profile", type=Path, metavar="FOLDER", help="of QGIS: Settings > User Profiles shows it (the default one)"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the path of the script, or installs it and prints the new path."""
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
    """Copies the script into a QGIS profile, with the path of this program in it; returns the new path.

    Args:
        profile: folder of the profile.

    Raises:
        UserError: another file has this name, or it cannot be written.
    """
    from segearth.outputs import atomic, writable_folder

    text = packaged(SCRIPT).read_text(encoding="utf-8")
    first_line = text.splitlines()[0]  # identifies earlier versions
    path = writable_folder(profile / "processing" / "scripts") / SCRIPT
    if path.exists() and not path.read_bytes().startswith(first_line.encode()):
        raise UserError(
            f"{path} is there, and is not the script of segearth: expected no other file of that name; rename it"
        )
    with atomic(path) as part:
        part.write_text(text.replace(_PROGRAM, f"INSTALLED_BY = {_this_program()!r}", 1), encoding="utf-8")
    return path


def _this_program() -> str:
    """Path of the program segearth of this environment; empty if there is none."""
    path = Path(sysconfig.get_path("scripts"), "segearth.exe" if os.name == "nt" else "segearth")
    return str(path) if path.is_file() else ""


def _profiles(given: Path | None) -> list[Path]:
    """The QGIS profiles to install into: the given one, else the default profile of each version.

    Raises:
        UserError: no profile.
    """
    if given is not None:
        folder = user_path(given, "profile")
        if not folder.is_dir():
            raise UserError(
                f"no folder at {option('profile', folder)}: expected a profile of QGIS; in QGIS, Settings > User "
                "Profiles > Open Active Profile Folder shows it"
            )
        return [folder]
    roots = {
        "win32": Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming"),
        "darwin": Path.home() / "Library" / "Application Support",
    }
    data = roots.get(sys.platform, Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"))
    folders = [data / "QGIS" / version / "profiles" / "default" for version in ("QGIS3", "QGIS4")]
    if not (profiles := [folder for folder in folders if folder.is_dir()]):
        raise UserError(
            f"no profile of QGIS at {folders[0]}: expected QGIS to have been started once; start it, or give the "
            f"folder of its profile by {option('profile', 'FOLDER')}, or add the file {packaged(SCRIPT)} in QGIS: "
            "Processing Toolbox > Scripts > Add Script to Toolbox"
        )
    return profiles
