"""The files that training writes: the upsampler in two formats, and the state from which a run is resumed.

Beside the file that was asked for, FILE.ckpt or FILE.safetensors, there are the other one and FILE.resume.pt. Each is
replaced whole or stays as it was, so neither a kill nor a full disk costs an earlier checkpoint.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes

from segearth.errors import UserError, option
from segearth.outputs import atomic, writable_folder
from segearth.training.simfeatup.log import is_log
from segearth.training.simfeatup.step import Trainee

SUFFIXES = (".safetensors", ".ckpt")


class Files:
    """Where a run writes."""

    def __init__(self, out: str | Path) -> None:
        """Derives all names from the one that was asked for, and makes its folder.

        Raises:
            UserError: another ending than .safetensors or .ckpt, or a folder that cannot be written.
        """
        self.out = Path(out)
        if self.out.suffix not in SUFFIXES:
            raise UserError(
                f"the output {str(out)!r} ends in {self.out.suffix or 'nothing'!r}: expected .safetensors or .ckpt; "
                "both are written, give either"
            )
        writable_folder(self.out.parent)
        self.safetensors = self.out.with_suffix(".safetensors")
        self.published = self.out.with_suffix(".ckpt")
        self.resume = self.out.with_suffix(".resume.pt")
        self.log = self.out.with_suffix(".csv")
        self.board = self.out.with_suffix(".tensorboard")

    def check(self, sources: Sequence[Path | None], resume: bool) -> None:
        """Refuses to overwrite what is no earlier state of the same run.

        Args:
            sources: files that the run reads.
            resume: whether it goes on with an earlier one.

        Raises:
            UserError: a file of the run is one of them, or is there already.
        """
        begun = self.resume.exists() or is_log(self.log)  # else what is there is somebody's, who resumes by mistake
        read = [source.resolve() for source in sources if source is not None]
        for path in (self.safetensors, self.published, self.resume, self.log):
            if path.resolve() in read:
                raise UserError(f"{path} is read by this run and would be overwritten: use another {option('out')}")
            if not path.exists() or (is_log(path) if path == self.log else resume and begun):
                continue
            way = f"{option('resume', True)} to go on with its run, " if begun and not resume else ""
            raise UserError(f"{path} is there already: give {way}another {option('out')}, or delete it")


def save(files: Files, trainee: Trainee, optimiser: torch.optim.Optimizer, step: int, facts: dict[str, Any]) -> None:
    """Writes a checkpoint after a step.

    Args:
        files: where.
        trainee: what is trained.
        optimiser: its optimiser.
        step: steps done.
        facts: what the run must agree in to be resumed; text, numbers or None. They go into all files.

    Raises:
        UserError: the disk is full, or a file cannot be written; what was there before is whole.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in trainee.upsampler.state_dict().items()}
    resume = {
        "step": step,
        "facts": facts,
        "trainee": trainee.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    # the form of the published files: torch's archive, a state_dict among other things, the prefix of its module
    published = {
        "global_step": step,
        "state_dict": {f"upsampler.{name}": value for name, value in state.items()},
        "facts": facts,
    }
    notes = {name: str(value) for name, value in {**facts, "steps": step}.items()}
    contents = (
        (files.published, _torch_bytes(published)),
        (files.safetensors, safetensors_bytes(state, metadata=notes)),
        (files.resume, _torch_bytes(resume)),  # last: while it lacks, the others are written again
    )
    try:
        for path, content in contents:
            with atomic(path) as part:  # torch's own writer would report a full disk as a defect
                part.write_bytes(content)
    except UserError as error:
        goes_on = f"{option('resume', True)} then goes on from the last checkpoint"
        raise UserError(f"{error}; {goes_on if files.resume.is_file() else 'nothing was saved yet'}") from None


def restore(files: Files, trainee: Trainee, optimiser: torch.optim.Optimizer, facts: dict[str, Any]) -> int:
    """Loads the last checkpoint of the same run.

    Args:
        files: where it is.
        trainee: filled.
        optimiser: filled.
        facts: of this run.

    Returns:
        Steps done.

    Raises:
        UserError: there is none, it is damaged, or it is of another run.
    """
    path = files.resume
    if not path.is_file():
        raise UserError(  # other processes of the same run see it
            f"nothing to resume: there is no {path}, which other processes see; use one shared folder for all"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise ValueError("its checksums do not fit")
        content = torch.load(path, map_location="cpu", weights_only=True)
        step, saved_facts = int(content["step"]), dict(content["facts"])
    except Exception as error:  # a damaged file can raise anything
        raise UserError(
            f"cannot resume from {path} ({type(error).__name__}: {' '.join(str(error).split())[:200]}): expected what "
            "an earlier run wrote; delete it and begin anew"
        ) from None
    if differing := [name for name in facts if facts[name] != saved_facts.get(name)]:
        listed = ", ".join(
            {"images_sha256": "other images", "clip_sha256": "other weights of the CLIP"}.get(
                name, f"{name} was {saved_facts.get(name)!r} and is {facts[name]!r}"
            )
            for name in differing
        )
        raise UserError(
            f"{path} is of another run: {listed}; resume with the options it was begun with, or begin anew with "
            f"another {option('out')}"
        )
    trainee.load_state_dict(content["trainee"])
    optimiser.load_state_dict(content["optimiser"])
    for saved, state in zip(content["optimiser"]["state"].values(), optimiser.state.values(), strict=True):
        # now on the weights' device, from which NAdam would read it back for every weight in every step
        state["mu_product"] = saved["mu_product"]
    return step


def _torch_bytes(content: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
