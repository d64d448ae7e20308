"""Synthetic aerial scenes with exact labels, to run the software without a download.

A scene is drawn in three steps. First, roads split a rotated and slightly bent plane into blocks of land. Second,
polygons are filled in maps of colours, labels, objects and shadows at once, so the labels are exact. Third, texture,
light, haze and sensor noise are added to the colours. One pixel is about 0.25 m.
"""

from segearth.synthetic.canvas import CLASSES, OBJECTS
from segearth.synthetic.scene import DEMO_SEED, Scene, draw_scene, save_scene

__all__ = ["CLASSES", "DEMO_SEED", "OBJECTS", "Scene", "draw_scene", "save_scene"]
