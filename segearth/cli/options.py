"""Options that several verbs share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from segearth.clips import Spec, resolve
from segearth.config_files import ConfigChanges, check_syntax
from segearth.errors import UserError, option
from segearth.jobs.launchers import LAUNCHERS
from segearth.paths import user_path

DEFAULT_MODEL = "clip-vit-b16"
PRECISIONS = ("fp32", "bf16", "fp16", "auto")
MODELS = (
    "a name that segearth weights list shows, such as clip-vit-b16, or tiny, which needs no download; the path of CLIP "
    "weights, or hf://owner/name/file"
)


def add_model_options(
    parser: argparse.ArgumentParser, default_model: str = DEFAULT_MODEL, with_config: bool = False
) -> None:
    """Adds the options for model, upsampler, device and precision.

    Args:
        parser: parser of the verb.
        default_model: default model in the help text; the value of `--model` is None by default.
        with_config: whether a config may set device and precision; their values are then None by default.
    """
    parser.add_argument("--model", help=f"{MODELS} ({default_model})")
    _add_custom_model(parser)
    add_device(parser, with_config)
    parser.add_argument(
        "--precision",
        default=None if with_config else "fp32",
        choices=PRECISIONS,
        help=f"of the image encoder; auto: fp16 on CUDA, else what is fast ({_shown_default('fp32', with_config)})",
    )


def _add_custom_model(parser: argparse.ArgumentParser) -> None:
    """Adds the options for a CLIP given by path or address."""
    parser.add_argument("--architecture", help="of a --model given by path or address: open_clip's name, or JSON")
    parser.add_argument(
        "--upsampler",
        help="bilinear, bilateral, simfeatup-kernels, or a file of segearth train-upsampler (the model's own)",
    )


def add_device(parser: argparse.ArgumentParser, with_config: bool = False) -> None:
    """Adds the option for the device; for the arguments see `add_model_options`."""
    parser.add_argument(
        "--device",
        default=None if with_config else "auto",
        help=f"auto, cpu, cuda, cuda:N or mps ({_shown_default('auto', with_config)})",
    )


def _shown_default(default: str, with_config: bool) -> str:
    """The default of an option, for its help."""
    return f"the config's; {default}" if with_config else default


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Adds the option for results and errors only."""
    parser.add_argument("-q", "--quiet", action="store_true", help="no remarks and no progress while working")


def check_model(args: argparse.Namespace, default: str | None = None) -> Spec | None:
    """Resolves the CLIP of `--model`, before torch is imported.

    Args:
        args: arguments of the command.
        default: default model.

    Raises:
        UserError: an unknown name, weights without architecture, or an architecture without weights.
    """
    if args.model is None and args.architecture is not None:
        raise UserError(
            f"{option('architecture', args.architecture)} is for weights of your own: expected a {option('model')} "
            "given by path or address; give that, too, or leave it out"
        )
    model = args.model or default
    return None if model is None else resolve(model, args.architecture)


def check_long_side(args: argparse.Namespace) -> None:
    """Checks `--long-side`.

    Raises:
        UserError: negative or too large.
    """
    if not 0 <= args.long_side < 2**31:
        raise UserError(
            f"{option('long_side', args.long_side)}: expected a number of pixels, or 0 for the image's own size; "
            "change it"
        )


def add_way(parser: argparse.ArgumentParser) -> None:
    """Adds the option that maps all inputs as pictures or as scenes."""
    parser.add_argument(
        "--as",
        dest="way",
        choices=("picture", "scene"),
        help="how all of them are mapped (what has coordinates, more than 8 bits or four bands, or very many pixels as "
        "a scene, else as a picture)",
    )


def add_max_pixels(parser: argparse.ArgumentParser) -> None:
    """Adds the option for the maximum pixels of a file."""
    parser.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help="the most that a file may have (89,478,485, and more where its bytes can hold them)",
    )


def check_max_pixels(args: argparse.Namespace) -> None:
    """Checks `--max-pixels`.

    Raises:
        UserError: less than 1.
    """
    if args.max_pixels is not None and args.max_pixels < 1:
        raise UserError(
            f"{option('max_pixels', args.max_pixels)}: expected a number of pixels, such as 400000000; change it"
        )


def add_max_memory(parser: argparse._ActionsContainer, default: str) -> None:
    """Adds the option for the working memory of windows.

    Args:
        parser: parser of the verb, or a group of its options.
        default: default in the help text.
    """
    parser.add_argument("--max-memory", type=float, metavar="MB", help=f"working memory ({default})")


def check_max_memory(args: argparse.Namespace) -> None:
    """Checks `--max-memory`.

    Raises:
        UserError: not a positive number.
    """
    if args.max_memory is not None and not 0 < args.max_memory < math.inf:
        raise UserError(
            f"{option('max_memory', args.max_memory)}: expected a number of megabytes, such as 400; change it"
        )


def add_evaluation_options(parser: argparse.ArgumentParser, which: str = "the config") -> None:
    """Adds the options that `eval` and `eval-all` share.

    Args:
        parser: parser of the verb.
        which: name of the config or configs in the help text.
    """
    parser.add_argument(
        "--model",
        help=f"replaces the CLIP and upsampler of {which}: {MODELS}",
    )
    _add_custom_model(parser)
    parser.add_argument("--data-root", type=Path, help="a folder that stands for the leading data/ of data paths")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images of a set")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help=f"changes to {which}, nested keys with dots: model.prob_thd=0.2 test_dataloader.num_workers=4",
    )
    add_max_memory(parser, "400, on a GPU up to 2000")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="none", help="what starts several processes")
    add_quiet(parser)


def check_evaluation_options(args: argparse.Namespace) -> None:
    """Checks the options of `add_evaluation_options`, before torch is imported.

    Raises:
        UserError: an invalid model, number of images, key=value or folder.
    """
    check_model(args)
    if args.limit is not None and args.limit < 1:
        raise UserError(f"{option('limit', args.limit)}: expected at least 1 image; change it")
    for change in args.cfg_options:
        check_syntax(change)
    check_max_memory(args)
    if args.data_root is not None and not user_path(args.data_root, "folder of data").is_dir():
        raise UserError(
            f"no folder at {option('data_root', args.data_root)}: expected the one that stands for data/; "
            "correct the path"
        )


def evaluation_changes(args: argparse.Namespace, method: Sequence[str] = ()) -> ConfigChanges:
    """Changes to a config by the given options of a verb.

    Args:
        args: parsed arguments, with the options of `add_evaluation_options` or similar ones.
        method: changes by other options, as "key=value"; later changes of a key override earlier ones.
    """
    options = {"device": "device", "precision": "precision", "max_memory_mb": "max_memory"}
    values = {key: getattr(args, name, None) for key, name in options.items()}
    given = [f"model.{key}={value}" for key, value in values.items() if value is not None]
    return ConfigChanges(
        (*method, *args.cfg_options, *given), args.data_root, args.model, args.architecture, args.upsampler
    )
