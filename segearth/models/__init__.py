"""The models: tensors in, tensors out; no paths, no images, no downloads."""

from segearth.models.dense_clip import DenseCLIP
from segearth.models.segearth import SegEarth
from segearth.models.simfeatup import Bilinear, JBUOne, JBUStack
from segearth.models.text import encode_text

__all__ = ["Bilinear", "DenseCLIP", "JBUOne", "JBUStack", "SegEarth", "encode_text"]
