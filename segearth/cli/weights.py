"""`segearth weights`: lists, locates, downloads and verifies weights."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from segearth import downloads, weights
from segearth.cli.formatting import columns, megabytes, short_path
from segearth.cli.options import add_quiet
from segearth.clips import known
from segearth.clips.spec import Source
from segearth.errors import UserError
from segearth.exits import MISTAKE, OK, SOME_FAILED, say
from segearth.files import File, Packaged
from segearth.hashes import sha256_of

HELP = "List, find, download and verify weights."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the commands list, path, download and verify."""
    what = parser.add_subparsers(dest="what", metavar="COMMAND", required=True)
    what.add_parser("list", help="name, size, licence, hash, and where each is", description="List all weights.")
    path = what.add_parser("path", help="print where a file is", description="Print the path of a file, if it is here.")
    path.add_argument("name", metavar="NAME", help="a name of the list")
    download = what.add_parser(
        "download", help="get files, so that segearth then works offline", description="Download weights to the cache."
    )
    download.add_argument(
        "names", nargs="+", metavar="NAME", help="a name of the list; that of a CLIP means its upsampler, too"
    )
    add_quiet(download)
    download.set_defaults(interrupted="what came is kept; the same command goes on")
    what.add_parser(
        "verify",
        help="hash every file that is here",
        description="Hash every file that is here, and compare with what is known of it. Exit code 1: one is damaged.",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    if args.what == "list":
        return list_weights()
    if args.what == "path":
        print(here(args.name))
        return OK
    return download(args.names, args.quiet) if args.what == "download" else verify()


def list_weights() -> int:
    """Prints the table of weights, with a description of each."""
    rows, notes = [("name", "size", "licence", "hash", "where")], []
    clips = known()
    for name, file in weights.files().items():
        size = megabytes(weights.packaged(file.name).stat().st_size) if isinstance(file, Packaged) else file.size_text
        rows.append((name, size, file.licence, _hash(file), place(file)))
        notes.append([clips[name].about, clips[name].remark] if name in clips else [file.about])
    head, *lines = columns(rows).splitlines()
    print(head)
    for line, note in zip(lines, notes, strict=True):
        print("\n    ".join([line, *filter(None, note)]))
    print(f"\nmodels: {', '.join(clips)}; cache: {short_path(weights.cache_dir())} (SEGEARTH_HOME changes it)")
    return OK


def _hash(file: File | Packaged) -> str:
    """The kind of hash that verifies a copy."""
    if file.sha256 is not None and not getattr(file, "member", ""):
        return "SHA-256"
    return "git blob" if getattr(file, "git_blob", None) else "not known"


def place(file: File | Packaged) -> str:
    """The location of a file, in a few words."""
    if isinstance(file, Packaged):
        return "packaged"
    try:
        path = weights.find(file)
    except UserError:
        return "damaged (segearth weights verify)"
    if path is not None:
        return short_path(path)
    part = downloads.received(weights.cache_path(file))
    if part:
        return f"not here ({megabytes(part)} of it are)"
    return "not here" if file.has_place else "not here, and no address is known"


def here(name: str) -> Path:
    """The path of a local weights file.

    Raises:
        UserError: an unknown name, or a missing file.
    """
    files = weights.files()
    if name not in files:
        raise UserError(f"no weights are called {name}: expected one of {', '.join(files)}; give one of these")
    if (path := weights.find(files[name])) is None:
        raise UserError(f"{name} is not on this computer: expected a copy; get it by segearth weights download {name}")
    return path


def download(names: list[str], quiet: bool = False) -> int:
    """Downloads files one after another; one that fails does not stop the others."""
    files = weights.files()
    wanted: dict[str, Source] = {}
    for name in names:
        if name not in files:
            raise UserError(
                f"no weights are called {name}: expected some of {', '.join(files)}; segearth weights list tells more"
            )
        row = known().get(name)
        needed = (files[name],) if row is None else (row.file, row.upsampler_file)
        wanted |= {file.name: file for file in needed if file is not None}
    failed = 0
    for file in wanted.values():
        try:
            print(weights.fetch(file, progress=not quiet))
        except UserError as error:
            say(f"error: {error}")
            failed += 1
    return OK if not failed else MISTAKE if failed == len(wanted) else SOME_FAILED


def verify() -> int:
    """Hashes all local copies, and prints the results."""
    rows = [(state, name, short_path(path), detail) for name, path, state, detail in _verified()]
    print(columns([("state", "name", "file", ""), *rows]))
    damaged = sum(state == "damaged" for state, *_ in rows)
    if damaged:
        say(f"{damaged} damaged: delete what is listed as damaged; it is downloaded again when it is needed")
    return SOME_FAILED if damaged else OK


def _verified() -> Iterator[tuple[str, Path, str, str]]:
    """Name, path, state and a remark of every local copy."""
    for name, file in weights.files().items():
        if isinstance(file, Packaged):
            path = weights.packaged(file.name)
            yield name, path, *_state(path, File(file.name, sha256=file.sha256))
            continue
        for path in weights.copies(file):
            if path.is_file():
                yield name, path, *_state(path, file)


def _state(path: Path, file: File) -> tuple[str, str]:
    """The state of a copy (ok, damaged, or not pinned), and a remark."""
    try:
        if not file.is_complete(path):
            return "damaged", f"it has {path.stat().st_size:,} bytes, which is not all of it ({file.size_text})"
        if file.pinned and not file.member:
            return ("ok", "") if (problem := file.damage(path)) is None else ("damaged", problem)
        digest = sha256_of(path)
    except OSError as error:
        return "damaged", f"it cannot be read: {error.strerror or error}"
    declared = path.resolve().name  # in the cache of the hub, a file is named by its declared SHA-256
    if re.fullmatch("[0-9a-f]{64}", declared):
        return ("ok", "as the hub declares it") if digest == declared else ("damaged", f"its SHA-256 is {digest}")
    return "not pinned", f"SHA-256 {digest}"
