"""Options of the verbs that map: attention method and test-time augmentation."""

from __future__ import annotations

import argparse
from typing import Any

# Names of `segearth.models.attention`, which needs torch.
METHOD_NAMES = "vanilla, MaskCLIP, SCLIP, GEM, ClearCLIP, SegEarth, NACLIP"
VIEWS = ("flips", "turns", "all")


def add_method_options(parser: argparse.ArgumentParser, default: str = "SegEarth") -> None:
    """Adds the options `--method` and `--tta`.

    Args:
        parser: parser of the verb.
        default: default method in the help text.
    """
    parser.add_argument(
        "--method",
        metavar="NAME",
        help=f"how features are read out: {METHOD_NAMES} ({default})",
    )
    parser.add_argument(
        "--tta",
        choices=VIEWS,
        help="test-time averaging, the mean over an image flipped (4 maps, 4 times the time), turned by quarters (4), "
        "or both (8) (none)",
    )


def method_options(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `load_model` for these options, without defaults.

    Raises:
        UserError: an unknown method.
    """
    given: dict[str, Any] = {} if args.tta is None else {"tta": args.tta}
    if args.method is not None:
        from segearth.models.attention import find_method

        given["method"] = args.method
        if not find_method(args.method).has_cls:
            given["cls_token_lambda"] = 0.0
    return given


def method_changes(args: argparse.Namespace) -> list[str]:
    """The same options as changes to a config.

    Raises:
        UserError: an unknown method.
    """
    given = method_options(args)
    return [f"model.{'model_type' if key == 'method' else key}={value}" for key, value in given.items()]
