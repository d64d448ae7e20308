"""Drawn aerial scenes with exact labels: something to run on without a download.

A scene is drawn in three steps. Its plan cuts a rotated, gently bent plane into blocks by roads. Its canvas
fills polygons into maps of colours, labels, objects and shadows at once, so the labels are exact. At last the
colours get their texture, light, haze and sensor noise. One pixel stands for about 0.25 m.
"""

from segearth.synthetic.canvas import CLASSES, OBJECTS
from segearth.synthetic.scene import DEMO_SEED, Scene, draw_scene, save_scene

__all__ = ["CLASSES", "DEMO_SEED", "OBJECTS", "Scene", "draw_scene", "save_scene"]
