"""Glue to OpenMMLab: mmsegmentation's data sets, test loop and metric around SegEarth.

    from segearth.openmmlab.evaluate import evaluate

    run, folder = evaluate("configs/cfg_loveda.py", "work_dirs/cfg_loveda")     # run.miou in percent

`SegEarthSegmentation` and the data sets are in mmseg's registries as soon as they are imported. This module
itself imports nothing of OpenMMLab: `require` does, and turns a failure into advice.
"""

from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from typing import Any

from segearth.datasets import dataset_classes
from segearth.errors import UserError
from segearth.extras import install_command

_HOME = {
    "CountingIoUMetric": "segearth.openmmlab.metric",
    "SegEarthSegmentation": "segearth.openmmlab.segmentor",
    **dict.fromkeys(dataset_classes(), "segearth.openmmlab.datasets"),
}


def __getattr__(name: str) -> Any:
    """Imports a registered class on first use, after the libraries that it needs."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require()
    return getattr(import_module(_HOME[name]), name)


def require(*modules: str) -> None:
    """Imports libraries that evaluation needs, by default OpenCV and all of OpenMMLab (some 8 s).

    Args:
        modules: names such as "mmengine"; none: all.

    Raises:
        UserError: one cannot be imported; the message has the command that mends it.
    """
    for name in modules or ("cv2", "mmengine", "mmcv", "mmseg", "mmseg.datasets", "mmseg.models"):
        try:
            with redirect_stdout(StringIO()):  # mmseg prints which of its optional parts are not there
                import_module(name)
        except ModuleNotFoundError as error:
            raise UserError(
                f"the Python package {error.name or name} is missing, which evaluation needs: {install_command('eval')}"
            ) from None
        except (ImportError, OSError) as error:
            text = " ".join(str(error).split())
            if ".so" in text and ("libGL" in text or "libgthread" in text or "libglib" in text):
                raise UserError(
                    f"OpenCV cannot be loaded ({text}): this system lacks the graphics libraries that the package "
                    "opencv-python needs; run: pip uninstall -y opencv-python && pip install --force-reinstall "
                    "--no-deps opencv-python-headless (or, as root: apt-get install libgl1 libglib2.0-0)"
                ) from None
            raise UserError(
                f"{name} cannot be imported ({text}): evaluation needs it; {install_command('eval')}"
            ) from None
        except AssertionError as error:  # how OpenMMLab refuses versions of its own libraries
            text = " ".join(str(error).split())
            raise UserError(
                f"{name} does not fit the other OpenMMLab libraries ({text}): {install_command('eval')}"
            ) from None
