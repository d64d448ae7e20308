"""CLIPs: the table of known ones, and `resolve`, which alone turns names, pairs, paths and addresses into its rows."""

from segearth.clips.resolving import Model, known, register, resolve
from segearth.clips.spec import STATISTICS, Spec, Statistics
from segearth.clips.table import CLIPS
from segearth.clips.upsamplers import UPSAMPLER_FILES

__all__ = ["CLIPS", "STATISTICS", "UPSAMPLER_FILES", "Model", "Spec", "Statistics", "known", "register", "resolve"]
