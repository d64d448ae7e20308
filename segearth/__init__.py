"""SegEarth: open-vocabulary segmentation of aerial and satellite images, without training.

    from segearth import load_model

    predictor = load_model("clip-vit-b16", classes="road; tree,forest; water; building,roof,house")
    result = predictor.predict("scene.tif")     # result.labels (H, W), result.scores (C, H, W)
    result.save("maps")                         # labels, overlay, summary

Names are imported when they are used: `import segearth` costs nothing and does not load torch.
docs/architecture.md tells what is in which module.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segearth.errors import UserError as UserError
    from segearth.loading import load_model as load_model
    from segearth.predictor import Encoded as Encoded
    from segearth.predictor import Predictor as Predictor
    from segearth.result import Result as Result
    from segearth.scenes.options import SceneOptions as SceneOptions
    from segearth.scenes.options import SceneProgress as SceneProgress
    from segearth.scenes.options import SceneResult as SceneResult
    from segearth.scenes.predict import predict_scene as predict_scene
    from segearth.scenes.reclassify import LabelChanges as LabelChanges
    from segearth.scenes.relabel import relabel_scene as relabel_scene
    from segearth.segmentation import segment as segment
    from segearth.vocabulary import Vocabulary as Vocabulary

__version__ = "0.2.0"

_MODULES = {
    "Encoded": "segearth.predictor",
    "LabelChanges": "segearth.scenes.reclassify",
    "Predictor": "segearth.predictor",
    "Result": "segearth.result",
    "SceneOptions": "segearth.scenes.options",
    "SceneProgress": "segearth.scenes.options",
    "SceneResult": "segearth.scenes.options",
    "UserError": "segearth.errors",
    "Vocabulary": "segearth.vocabulary",
    "load_model": "segearth.loading",
    "predict_scene": "segearth.scenes.predict",
    "relabel_scene": "segearth.scenes.relabel",
    "segment": "segearth.segmentation",
}
__all__ = [
    "Encoded",
    "LabelChanges",
    "Predictor",
    "Result",
    "SceneOptions",
    "SceneProgress",
    "SceneResult",
    "UserError",
    "Vocabulary",
    "load_model",
    "predict_scene",
    "relabel_scene",
    "segment",
]


def __getattr__(name: str) -> Any:
    """Imports a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from segearth.errors import without_warnings

    with without_warnings(message="IProgress not found"):  # tqdm, in a notebook without widgets
        return getattr(import_module(_MODULES[name]), name)
