"""Runs the Processing script in the Python of QGIS: `qgis_driver.py SCRIPT PARAMETERS`; prints JSON of what happened.

`CANCEL` in the parameters is a text: when the algorithm says it, it is cancelled. Results are loaded as QGIS loads
them, and drawn.
"""

import importlib.util
import json
import sys

sys.path.append("/usr/share/qgis/python/plugins")
from processing.core.ProcessingConfig import ProcessingConfig
from processing.gui.Postprocessing import handleAlgorithmResults
from qgis.core import (
    QgsApplication,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProject,
    QgsSettings,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


class Feedback(QgsProcessingFeedback):
    """Notes what is said, and cancels when it is time."""

    def __init__(self, cancel):
        super().__init__(False)
        self.said, self.errors, self._cancel = [], [], cancel

    def pushInfo(self, text):
        self.said.append(text)

    def setProgressText(self, text):
        self.said.append(text)
        if text == self._cancel:
            self.cancel()

    def reportError(self, text, fatalError=False):
        self.errors.append(text)


def colours_of(layer):
    """The colours that a layer is drawn in, the most frequent first."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setExtent(layer.extent())
    settings.setDestinationCrs(layer.crs())
    settings.setOutputSize(QSize(60, 50))
    settings.setBackgroundColor(QColor("black"))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    image = job.renderedImage()
    names = [image.pixelColor(x, y).name() for y in range(image.height()) for x in range(image.width())]
    return sorted(set(names), key=lambda name: -names.count(name))


application = QgsApplication([], True)
application.initQgis()
spec = importlib.util.spec_from_file_location("segearth_qgis", sys.argv[1])
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
parameters = json.loads(sys.argv[2])
feedback = Feedback(parameters.pop("CANCEL", None))
for name in ("_INTERRUPTED_S", "_TERMINATED_S"):
    setattr(script, name, parameters.pop(name, getattr(script, name)))
context = QgsProcessingContext()
context.setProject(QgsProject.instance())
algorithm = script.SegEarth().create()
fine, why = algorithm.checkParameterValues(parameters, context)
results, good = algorithm.run(parameters, context, feedback) if fine else ({}, False)
ProcessingConfig.initialize()
handleAlgorithmResults(algorithm, context, QgsProcessingFeedback(False))
layers = {
    layer.name(): {"colours": colours_of(layer), "renderer": layer.renderer().type()}
    for layer in context.project().mapLayers().values()
    if layer.isValid()
}
print(
    json.dumps(
        {
            "good": good,
            "refused": None if fine else why,
            "results": results,
            "said": feedback.said,
            "errors": feedback.errors,
            "progress": feedback.progress(),
            "to_load": [details.outputName for details in context.layersToLoadOnCompletion().values()],
            "layers": layers,
            "remembered": QgsSettings().value(script.SETTING),
        }
    )
)
