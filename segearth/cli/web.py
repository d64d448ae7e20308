"""`segearth web [IMAGE...]`: serves a web page that maps images, by default only for this computer."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from functools import partial
from pathlib import Path

from segearth.cli.options import DEFAULT_MODEL, add_max_memory, add_model_options, check_max_memory, check_model
from segearth.clips import known
from segearth.errors import UserError, called_as, option, printable
from segearth.exits import OK, say
from segearth.paths import user_path

HELP = "Open a page in the browser that maps images, with a REST interface below it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds images, address of the server, and model."""
    parser.epilog = "Ctrl-C ends the server, and its files go: download what is to stay."
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="images that are there when the page opens")
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder whose images can be opened by their paths")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; another than this computer's own "
                        "makes a token, which the printed address has (%(default)s)")  # fmt: skip
    parser.add_argument("--port", type=int, default=8000, help="0: a free one (%(default)s)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--max-upload", type=float, default=2000, metavar="MB", help="of a file (%(default)s)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder for its files (where temporary files are)")
    add_model_options(parser)
    add_max_memory(parser, "1200, beside the model")
    parser.add_argument("--threads", type=int, metavar="N", help="that compute (all cores)")
    parser.set_defaults(interrupted="the page is closed, and its files are removed", less_memory="give fewer names")


def run(args: argparse.Namespace) -> int:
    """Checks the arguments, loads the model, and serves."""
    check_model(args)
    check_max_memory(args)
    for name in ("max_upload", "threads"):
        value = getattr(args, name)
        if value is not None and not 0 < value < 1e9:
            raise UserError(f"{option(name, value)}: expected a number above 0; change it")
    images = [_image(text) for text in args.images]

    from segearth.web.app import WebOptions
    from segearth.web.images import Root, inspect
    from segearth.web.serve import bind, serve, work_folder
    from segearth.web.worker import ModelSetup

    root = None if args.root is None else Root.of(user_path(args.root, "folder of images"))
    for path in images:
        inspect(path, str(path), sent=False)
    model = args.model or DEFAULT_MODEL
    setup = ModelSetup(model, args.architecture, args.upsampler or "default", args.device, args.precision, args.threads)
    # GDAL must not access servers: all images are files
    os.environ.setdefault("CPL_VSIL_CURL_ALLOWED_FILENAME", "/none")
    with work_folder(args.work) as work:
        address = bind(args.host, args.port)
        with address.listener:
            options = WebOptions(work, model, tuple(known()), root, args.max_upload, args.max_memory)
            say(f"loading {model}")
            with called_as(None):
                serve(options, setup, address, images, partial(_tell, address.url, args.no_browser))
    return OK


def _image(text: str) -> Path:
    path = user_path(text, "image")
    if not path.is_file():
        raise UserError(f"no file at {path}: expected an image; correct the path")
    return path.resolve()


def _tell(url: str, no_browser: bool) -> None:
    """Prints the URL, and opens it in a browser if there is a screen."""
    print(f"segearth web: {printable(url)}", flush=True)
    has_screen = sys.platform in ("darwin", "win32") or "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    if not no_browser and has_screen:
        webbrowser.open(url)
