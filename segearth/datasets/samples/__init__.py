"""Small drawn downloads of the data sets, in their published layout: something to prepare without any download.

    drawing.py   one image and its labels, from a drawn scene and a set's table of classes
    things.py    objects that scenes lack: ships, courts, tanks, people, ...
    extras.py    other files of a download, which a preparation has to ignore
    layout.py    archives, folders and file names (tools/make_sample_data.py)

They are drawings: they show that the way from a download to a figure works, and no figure on them means anything.
Each folder says so in a file, and the manifests of what is prepared from them have `"complete": false`.
"""

from segearth.datasets.samples.drawing import Drawn
from segearth.datasets.samples.layout import NOTICE, draw_pairs, draw_sample, write_sample

__all__ = ["NOTICE", "Drawn", "draw_pairs", "draw_sample", "write_sample"]
