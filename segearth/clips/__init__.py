"""CLIPs: the table of those that are known, and the one place that turns what a user says into a row of it."""

from segearth.clips.resolving import Model, known, register, resolve
from segearth.clips.spec import STATISTICS, Spec, Statistics
from segearth.clips.table import CLIPS, UPSAMPLERS

__all__ = ["CLIPS", "STATISTICS", "UPSAMPLERS", "Model", "Spec", "Statistics", "known", "register", "resolve"]
