"""`segearth train-upsampler`: SimFeatUp for a CLIP, trained on a folder of images without labels.

    segearth train-upsampler --model clip-vit-b16 --images DIR -o simfeatup.safetensors
    torchrun --nproc-per-node=2 -m segearth train-upsampler --model clip-vit-b16 --images DIR -o simfeatup.safetensors
    segearth train-upsampler --model RemoteCLIP-ViT-L-14.pt --architecture ViT-L-14 --images DIR -o l14.ckpt

Beside the file that is asked for it writes simfeatup.ckpt (the published format), simfeatup.csv (the losses of each
step), simfeatup.resume.pt (--resume goes on from it) and, where TensorBoard is installed, simfeatup.tensorboard/.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from segearth.cli.options import MODELS, add_device, add_quiet
from segearth.clips import resolve
from segearth.distributed.launch import joined
from segearth.distributed.ranks import Ranks
from segearth.errors import UserError, option
from segearth.exits import OK, quiet, say

HELP = "Train SimFeatUp for a CLIP on images without labels."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds CLIP, images, output file, and options of the training."""
    parser.epilog = (
        "--architecture is open_clip's: ViT-B-32, ViT-L-14 and such for weights of LAION and RemoteCLIP, "
        "ViT-L-14-quickgelu and such for those of OpenAI and MetaCLIP and what was trained from them; or a JSON file. "
        "The wrong one loads, too, and gives worse maps. CLIPs by name have their own."
    )
    parser.set_defaults(
        less_memory="use a smaller --batch or --crop, or give --recompute",
        interrupted="--resume goes on from the last checkpoint, if one was written",
    )
    parser.add_argument("--model", required=True, help=MODELS)
    parser.add_argument("--architecture", help="of weights given by path or address, see below")
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders of images, with those in them")
    parser.add_argument(
        "--exclude",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="leave out images and folders, such as masks '*_test.png'",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="file to write: .safetensors or .ckpt")
    parser.add_argument("--steps", type=int, help="optimiser steps (one pass over the images)")
    parser.add_argument("--batch", type=int, default=4, help="crops a step, in all processes together (%(default)s)")
    parser.add_argument("--crop", type=int, default=224, help="side of the crops in pixels (%(default)s)")
    parser.add_argument("--jitters", type=int, default=5, help="jittered copies a step (%(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="processes that read images ahead (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (%(default)s)")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate (%(default)s)")
    parser.add_argument(
        "--init",
        default="random",
        help="initial weights: random (as published), bilateral (a filter that keeps edges; give "
        "--no-dropout --lr 3e-4 with it), or an upsampler's checkpoint (%(default)s)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint of the same output, if there is one"
    )
    parser.add_argument("--save-every", type=int, default=100, help="steps between checkpoints (%(default)s)")
    add_device(parser)
    parser.add_argument(
        "--precision", default="auto", help="of the frozen CLIP: fp32, bf16, fp16 (fp16 on a CUDA device, else fp32)"
    )
    variants = parser.add_argument_group("variants")
    variants.add_argument("--upsampler", default="jbu_one", help="jbu_one or jbu_stack (%(default)s)")
    variants.add_argument("--radius", type=int, help="of the kernels (5 for jbu_one, 3 for jbu_stack)")
    variants.add_argument(
        "--features", default="input", help="what is upsampled: the last block's input or output (%(default)s)"
    )
    variants.add_argument(
        "--feature-scale",
        type=float,
        default=1.0,
        help="factor of the features in the losses; for a CLIP whose features are many times larger than OpenAI's "
        "(root mean square 0.4), what brings them there (%(default)s)",
    )
    variants.add_argument("--no-image-loss", action="store_true", help="do not reconstruct the image")
    variants.add_argument("--no-dropout", action="store_true", help="drop no channels and no features")
    variants.add_argument("--recompute", action="store_true", help="less memory: compute kernels twice")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Joins the other processes, if any, and trains."""
    with joined(gpus=args.device.startswith(("auto", "cuda"))) as ranks:
        train(args, ranks)
    return OK


def train(args: argparse.Namespace, ranks: Ranks) -> None:
    """Loads the CLIP and trains."""
    from segearth.compute import choose_device
    from segearth.loading import load_clip
    from segearth.training.simfeatup import trainer
    from segearth.training.simfeatup.recipe import STARTS, UpsamplerRecipe

    spec = resolve(args.model, args.architecture)
    is_named = args.init in STARTS
    if not is_named and not Path(args.init).is_file():
        raise UserError(
            f"{option('init', args.init)}: no such file, expected one, or {' or '.join(STARTS)}; correct it"
        )
    recipe = UpsamplerRecipe(
        upsampler=args.upsampler,
        radius=args.radius,
        start=args.init if is_named else "random",
        features=args.features,
        image_loss=not args.no_image_loss,
        jitters=args.jitters,
        dropout=not args.no_dropout,
        recompute=args.recompute,
        scale=args.feature_scale,
    )
    options = trainer.TrainingRun(
        steps=args.steps,
        batch=args.batch,
        crop=args.crop,
        seed=args.seed,
        workers=args.workers,
        save_every=args.save_every,
        learning_rate=args.lr,
        precision=args.precision,
        init=None if is_named else Path(args.init),
        resume=args.resume,
        exclude=tuple(args.exclude),
        clip=spec.file if isinstance(spec.file, Path) else None,
        architecture=args.architecture,
    )
    trainer.check(options, recipe, args.images, args.out)  # before anything is downloaded
    device = choose_device(args.device)
    # `use_onednn` is not called: its checks are for the products of prediction. Gradients have other products (sums
    # over all pixels, transposed kernels), for which accuracy and speed of oneDNN are unknown.
    clip = load_clip(spec)
    trainer.train(clip, spec.name, args.images, args.out, options, recipe, device, quiet if args.quiet else say, ranks)
