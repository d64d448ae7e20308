# SPDX-FileCopyrightText: The SegEarth developers
# SPDX-License-Identifier: GPL-2.0-or-later
#
# This file is free software: you can redistribute it and/or modify it under the terms of the GNU General Public License
# as published by the Free Software Foundation, either version 2 of the License, or (at your option) any later version.
# It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the implied warranty of
# MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU General Public License for more details.
#
# It is under that licence because it imports QGIS, which is. It runs inside QGIS and imports nothing of the package
# segearth, which is under the Apache License 2.0 and runs as a program of its own.
"""A Processing script for QGIS 3.22 and later: maps a raster layer with class names in words, by `segearth predict`."""

from __future__ import annotations  # QGIS for Windows had Python 3.9 for long

import json
import os
import shlex
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from qgis.core import (
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputFile,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingUtils,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsSettings,
)
from qgis.PyQt.QtCore import QProcess, QProcessEnvironment

INSTALLED_BY = ""  # the program segearth that installed this file, where one did
SETTING = "segearth/program"
MODELS = (
    "clip-vit-b32",
    "clip-vit-b16",
    "clip-vit-l14",
    "clip-vit-l14-336",
    "openclip-vit-b32",
    "openclip-vit-b16",
    "openclip-vit-l14",
    "openclip-vit-h14",
    "datacomp-vit-b32",
    "datacomp-vit-b16",
    "datacomp-vit-l14",
    "metaclip-vit-b32",
    "metaclip-vit-b16",
    "metaclip-vit-l14",
    "metaclip-vit-h14",
    "remoteclip-vit-b32",
    "remoteclip-vit-l14",
    "georsclip-vit-b32",
    "georsclip-vit-l14",
    "georsclip-vit-l14-336",
    "georsclip-vit-h14",
    "skyclip-vit-b32",
    "skyclip-vit-l14",
    "alip-vit-b32",
    "tiny",
)
_MODEL = "clip-vit-b16"
PRECISIONS = ("fp32", "bf16", "fp16", "auto")
NO_POLYGONS = "none"
POLYGONS = (NO_POLYGONS, "gpkg", "fgb", "geojson")
_CLASSES = "road\nwater,river\ntree,forest\nbuilding,roof,house\ngrass"

# What QGIS sets for its own Python, GDAL and PROJ; those of segearth's environment are others.
_OF_QGIS = ("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB", "PYTHONEXECUTABLE", "PYTHONHOME", "PYTHONPATH")
_INTERRUPTED_S, _TERMINATED_S = 20, 40  # seconds after a cancel, until it is said more clearly
_POLYGONS_PERCENT = 5  # of the bar, where polygons are made
_OK, _SOME_FAILED = 0, 1  # exit codes of segearth

_HELP = """Maps a raster with class names in words, without training.

<b>Classes</b>: one a line, commas between synonyms. Broad, visible things work best. A line may go on with settings:
<tt>tree,forest | colour=#19732A | threshold=0.35</tt>

<b>Metres of a pixel of the model</b>: how much ground the model sees matters more than anything else; it was made for
0.3 to 1.2 m. Without it: the raster as it is.

<b>Threshold</b>: pixels whose best score is below it become <i>unclassified</i>, or the class called background.

<b>Folder</b>: the map and its summary. A run that was cancelled goes on when it is started again with the same folder
and settings, so choose a folder of your own for large rasters.

<b>Model</b>: clip-vit-b16 is that of the paper, a download of 604 MB, once. tiny comes with segearth and gives rough
guesses only.

The work is done by the program <tt>segearth</tt> in an environment of its own."""


class Request(NamedTuple):
    """What is to be mapped, and how.

    Attributes:
        image: a path, or another address that GDAL knows.
        classes: as they were typed, one a line.
        folder: for the results.
        model: its name.
        threshold: from 0 to 1.
        gsd: metres of a pixel of the model; None: as it is.
        scale: pixels of the model for one of the raster; None: 1.
        box: west, south, east and north, and their coordinate system or "" for the raster's; None: all.
        polygons: one of `POLYGONS`.
        min_area: in m², of polygons; None: all are kept.
        confidence: whether there is to be a raster of the best score.
        device: as of segearth.
        precision: as of segearth.
        overwrite: whether to begin anew, whatever is there.
        more: further options of `segearth predict`.
    """

    image: str
    classes: str
    folder: str
    model: str = _MODEL
    threshold: float = 0.0
    gsd: float | None = None
    scale: float | None = None
    box: tuple[tuple[float, float, float, float], str] | None = None
    polygons: str = NO_POLYGONS
    min_area: float | None = None
    confidence: bool = False
    device: str = "auto"
    precision: str = PRECISIONS[0]
    overwrite: bool = False
    more: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """The arguments of `segearth`. A value that may begin with a dash stands in one word with its option."""
        words = ["predict", self.image, f"--classes={class_list(self.classes)}", "--as", "scene", "-o", self.folder]
        words += ["--model", self.model, "--device", self.device, "--precision", self.precision]
        for option, value in (("threshold", self.threshold), ("gsd", self.gsd), ("scale", self.scale)):
            words += [f"--{option}={value!r}"] if value else []
        if self.box is not None:
            words += ["--bbox=" + ",".join(map(repr, self.box[0]))]
            words += [f"--bbox-crs={self.box[1]}"] if self.box[1] else []
        if self.polygons != NO_POLYGONS:
            words += ["--vector", self.polygons]
            words += [f"--min-area={self.min_area!r}"] if self.min_area else []
        words += [f"--{name}" for name in ("confidence", "overwrite") if getattr(self, name)]
        return [*words, *self.more, "--progress", "json"]


def class_list(text: str) -> str:
    """Classes as they were typed, one a line, as one text for the command line, without lines that begin with #."""
    lines = (line.strip() for line in text.splitlines())
    return "; ".join(line.strip("; ") for line in lines if line.strip("; ") and not line.startswith("#"))


def options_of(text: str) -> tuple[str, ...]:
    """Options as they were typed, with quotes around what has spaces; backslashes are those of Windows' paths.

    Raises:
        QgsProcessingException: a quote is open.
    """
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    try:
        return tuple(lexer)
    except ValueError:
        raise QgsProcessingException(
            f"the further options {text!r} have a quote that is not closed: expected pairs of them; close it"
        ) from None


def own_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment variables for a program that is none of QGIS: those of a shell, not those of QGIS's own Python."""
    kept = {name: value for name, value in variables.items() if name.upper() not in _OF_QGIS}
    return {**kept, "PYTHONIOENCODING": "utf-8"}


def event_of(line: str) -> dict[str, Any] | None:
    """A line of progress; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def percent_of(event: Mapping[str, Any], with_polygons: bool) -> float | None:
    """How far the work is, from 0 to 100; None where the line does not tell."""
    mapping = 100 - _POLYGONS_PERCENT * with_polygons
    if event.get("tiles"):
        return float(mapping + (100 - mapping) * event["tiles_done"] / event["tiles"])
    if event.get("megapixels"):
        return float(mapping * event["megapixels_done"] / event["megapixels"])
    return None


def text_of(event: Mapping[str, Any]) -> str:
    """What a line of progress says to people; empty for what the bar alone tells."""
    if "tiles" in event:
        return "polygons"
    if "blocks" not in event:
        return ""
    if event["blocks_done"] == event["blocks"]:
        return "putting the map together"
    left = event.get("seconds_left")
    more = "" if left is None else f", about {duration(left)} left"
    return f"block {event['blocks_done'] + 1} of {event['blocks']}{more}"


def duration(seconds: float) -> str:
    """Seconds for people."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def program_path(given: str) -> str | None:
    """The program segearth, by its path, the folder of its environment, or its name on PATH; None if not there."""
    place = os.path.expanduser(given.strip())  # noqa: PTH111 ("segearth" alone is looked for on PATH)
    folders = ("", "bin", "Scripts") if Path(place).is_absolute() else ()
    places = (place, *(str(Path(place, folder, "segearth")) for folder in folders))
    found = next((path for one in places if (path := shutil.which(one))), None)
    return None if found is None else str(Path(found).absolute())


def remembered_program() -> str:
    """The program that was used last, else the one that installed this file, else one on PATH; else empty."""
    known = (str(QgsSettings().value(SETTING, "") or ""), INSTALLED_BY, "segearth")
    return next((path for one in known if (path := program_path(one))), "")


class _Lines:
    """Whole lines of a stream that comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def of(self, piece: bytes, end: bool = False) -> list[str]:
        """The lines that are whole with this piece; at the end the last one, too."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        if end and self._rest:
            whole, self._rest = [*whole, self._rest], b""
        return [line.decode("utf-8", "replace").rstrip("\r") for line in whole]


class Run:
    """The program at work.

    Args:
        program: its path.
        request: what it is to do.
        feedback: is told how far it is, and asked whether to stop.

    Attributes:
        files: what was written, by what the names end in after the map's own: "labels.tif", "polygons.gpkg".
        error: the sentence with which the program gave up.
        last: the last lines that it said.
    """

    def __init__(self, program: str, request: Request, feedback: QgsProcessingFeedback) -> None:
        self._program, self._request, self._feedback = program, request, feedback
        self._cancelled: float | None = None  # when
        self._said = ""
        self._steps = 0  # of stopping it
        self.files: dict[str, str] = {}
        self.error = ""
        self.last: list[str] = []

    def __call__(self) -> int:
        """Runs it to its end; gives its exit code.

        Raises:
            QgsProcessingException: it does not start.
        """
        process, arguments = QProcess(), self._request.arguments()
        variables = QProcessEnvironment()
        for name, value in own_environment(os.environ).items():
            variables.insert(name, value)
        process.setProcessEnvironment(variables)
        process.setStandardInputFile(QProcess.nullDevice())
        self._feedback.pushCommandInfo(" ".join(map(repr, [self._program, *arguments])))
        process.start(self._program, arguments)
        if not process.waitForStarted(60_000):
            raise QgsProcessingException(
                f"{self._program} does not start ({process.errorString()}): expected the program segearth; give its "
                "path in the parameter 'Program segearth'"
            )
        errors, output, running = _Lines(), _Lines(), True
        while running:
            running = not process.waitForFinished(200) and process.state() != QProcess.ProcessState.NotRunning
            for line in errors.of(bytes(process.readAllStandardError()), not running):
                self._heed(line)
            for line in output.of(bytes(process.readAllStandardOutput()), not running):
                self._feedback.pushConsoleInfo(line)
            if running and self._feedback.isCanceled():
                self._stop(process)
        is_crash = process.exitStatus() == QProcess.ExitStatus.CrashExit
        return -1 if is_crash else int(process.exitCode())

    def _heed(self, line: str) -> None:
        """Shows a line that the program said."""
        event = event_of(line)
        if event is None:
            self._tell(line)
            return
        self.files |= {ending(path): path for path in event.get("files", ())}
        percent = percent_of(event, self._request.polygons != NO_POLYGONS)
        if percent is not None:
            self._feedback.setProgress(percent)
        text = text_of(event)
        what = text.partition(",")[0]
        if text and what != self._said:  # each block once: these lines stay in the log
            self._said = what
            self._feedback.setProgressText(text)

    def _tell(self, line: str) -> None:
        self.last = [*self.last[-9:], line]
        kind, _, text = line.partition(": ")
        if kind == "error":
            self.error = text
        elif kind == "failed":
            self._feedback.reportError(text)
        elif kind == "warning":
            self._feedback.pushWarning(text)
        elif line.strip():
            self._feedback.pushInfo(line)

    def _stop(self, process: QProcess) -> None:
        """Ends the program, at first as Ctrl-C does. In all ways, finished blocks stay, and a later run goes on."""
        now = time.monotonic()
        if self._cancelled is None:
            self._cancelled = now
            self._feedback.pushInfo("cancelled: waiting for segearth to end")
        steps = [(0.0, lambda: interrupt(int(process.processId()))), (_INTERRUPTED_S, process.terminate)]
        steps.append((_TERMINATED_S, process.kill))
        while self._steps < len(steps) and now - self._cancelled >= steps[self._steps][0]:
            steps[self._steps][1]()
            self._steps += 1


def interrupt(number: int) -> None:
    """Does what Ctrl-C does; on Windows, where a program without a console cannot get that, ends it and its workers."""
    if os.name == "nt":
        QProcess.execute("taskkill", ["/PID", str(number), "/T", "/F"])
    elif number > 0:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(number, signal.SIGINT)


def ending(path: str) -> str:
    """What a file of a map is: "labels.tif" of town.labels.tif."""
    return ".".join(Path(path).name.rsplit(".", 2)[1:])


class Styler(QgsProcessingLayerPostProcessorInterface):
    """Gives a result that has been loaded its own style, which Processing leaves out."""

    def postProcessLayer(  # noqa: N802 (names of QGIS, here and below)
        self,
        layer: QgsMapLayer,
        context: QgsProcessingContext,  # noqa: ARG002
        feedback: QgsProcessingFeedback,  # noqa: ARG002
    ) -> None:
        """Takes the style that lies beside the file, or within a GeoPackage."""
        layer.loadDefaultStyle()
        layer.triggerRepaint()


def address_of(layer: QgsRasterLayer) -> str:
    """What segearth is given for a layer.

    Raises:
        QgsProcessingException: it is no raster that GDAL reads.
    """
    if layer.providerType() != "gdal":
        raise QgsProcessingException(
            f"the layer {layer.name()} comes from QGIS's provider {layer.providerType()!r}: expected a raster file, or "
            "another raster of GDAL; save it as a GeoTIFF first (Export > Save As), and map that"
        )
    source = str(layer.source())
    parts = QgsProviderRegistry.instance().decodeUri("gdal", source)
    if parts.get("layerName") or not parts.get("path"):
        return source.partition("|")[0]
    return str(parts["path"])


class SegEarth(QgsProcessingAlgorithm):
    """The algorithm that QGIS lists as SegEarth > Map with class names."""

    _stylers: ClassVar[list[Styler]] = []

    def createInstance(self) -> SegEarth:  # noqa: N802
        """A new one."""
        return SegEarth()

    def name(self) -> str:
        """Of the algorithm, in `qgis_process run script:segearth`."""
        return "segearth"

    def displayName(self) -> str:  # noqa: N802
        """What people see."""
        return "Map with class names"

    def group(self) -> str:
        """Where it stands."""
        return "SegEarth"

    def groupId(self) -> str:  # noqa: N802
        """Where it stands."""
        return "segearth"

    def tags(self) -> list[str]:
        """Words that find it."""
        return ["classification", "segmentation", "land cover", "CLIP", "SegEarth"]

    def shortHelpString(self) -> str:  # noqa: N802
        """What stands beside the parameters."""
        return _HELP.replace("\n\n", "<br><br>")

    def initAlgorithm(self, configuration: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002, N802
        """Declares parameters and outputs."""
        number, real = QgsProcessingParameterNumber, QgsProcessingParameterNumber.Type.Double
        program = remembered_program()
        self._add(QgsProcessingParameterRasterLayer("INPUT", "Raster"))
        self._add(QgsProcessingParameterString("CLASSES", "Classes, one a line", _CLASSES, multiLine=True))
        self._add(QgsProcessingParameterEnum("MODEL", "Model", MODELS, False, _MODEL, usesStaticStrings=True))
        self._add(
            number("GSD", "Metres of a pixel of the model (empty: the raster's)", real, optional=True, minValue=0.0)
        )
        self._add(number("THRESHOLD", "Threshold", real, 0.0, minValue=0.0, maxValue=1.0))
        self._add(QgsProcessingParameterExtent("EXTENT", "Part (empty: all)", optional=True))
        self._add(
            QgsProcessingParameterEnum("POLYGONS", "Polygons", POLYGONS, False, NO_POLYGONS, usesStaticStrings=True)
        )
        self._add(QgsProcessingParameterFolderDestination("OUTPUT", "Folder"))
        self._add(number("SCALE", "Pixels of the model for one of the raster", real, optional=True, minValue=0.0), True)
        area = "Smallest polygon, in m² (smaller ones go to their neighbours)"
        self._add(number("MIN_AREA", area, real, optional=True, minValue=0.0), True)
        self._add(QgsProcessingParameterBoolean("CONFIDENCE", "Also a raster of the best class's score", False), True)
        self._add(QgsProcessingParameterBoolean("OVERWRITE", "Begin anew, whatever is in the folder", False), True)
        self._add(QgsProcessingParameterString("DEVICE", "Device (auto, cpu, cuda, cuda:1, mps)", "auto"), True)
        self._add(
            QgsProcessingParameterEnum(
                "PRECISION", "Precision", PRECISIONS, False, PRECISIONS[0], usesStaticStrings=True
            ),
            True,
        )
        self._add(
            QgsProcessingParameterString("OPTIONS", "Further options of segearth predict", "", optional=True), True
        )
        self._add(
            QgsProcessingParameterFile(
                "PROGRAM",
                "Program segearth",
                defaultValue=program or None,
                optional=True,
                fileFilter="All files (*)",  # by default QGIS refuses names without a dot
            ),
            bool(program),
        )
        self.addOutput(QgsProcessingOutputRasterLayer("LABELS", "Map"))
        self.addOutput(QgsProcessingOutputRasterLayer("SCORE", "Score of the best class"))
        self.addOutput(QgsProcessingOutputVectorLayer("SHAPES", "Polygons"))
        self.addOutput(QgsProcessingOutputFile("SUMMARY", "Summary"))

    def _add(self, parameter: QgsProcessingParameterDefinition, advanced: bool = False) -> None:
        if advanced:
            parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
        self.addParameter(parameter)

    def checkParameterValues(  # noqa: N802
        self, parameters: dict[str, Any], context: QgsProcessingContext
    ) -> tuple[bool, str]:
        """Refuses what QGIS itself does not."""
        if not class_list(self.parameterAsString(parameters, "CLASSES", context)):
            return False, "no class is given: expected one a line, such as tree,forest"
        fine, why = super().checkParameterValues(parameters, context)
        return bool(fine), str(why)

    def processAlgorithm(  # noqa: N802
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Maps the raster, and has the results loaded.

        Raises:
            QgsProcessingException: that is not possible.
        """
        program = self._program(parameters, context)
        request = self._request(parameters, context)
        if Path(QgsProcessingUtils.tempFolder()) in Path(request.folder).parents:
            feedback.pushInfo("the folder is a temporary one: a run that is cancelled cannot go on later")
        run = Run(program, request, feedback)
        code = run()
        QgsSettings().setValue(SETTING, program)
        if feedback.isCanceled():
            feedback.pushInfo("what is finished is kept: the same folder and settings, without 'Begin anew', go on")
            return {"OUTPUT": request.folder}
        labels = run.files.get("labels.tif")
        if code not in (_OK, _SOME_FAILED) or labels is None:
            said = "; ".join(run.last[-3:]) or "nothing"
            raise QgsProcessingException(
                run.error or f"segearth ended with {code} and without a map, and said at last: {said}"
            )
        if code == _SOME_FAILED:
            feedback.reportError("parts are missing, see above: the same folder and settings try them again")
        name = Path(labels).name[: -len(".labels.tif")]
        results = {"OUTPUT": request.folder}
        for key, what in (("LABELS", "labels.tif"), ("SCORE", "confidence.tif"), ("SUMMARY", "summary.json")):
            if what in run.files and (what != "confidence.tif" or request.confidence):
                results[key] = run.files[what]
        if (polygons := run.files.get(f"polygons.{request.polygons}")) is not None:
            results["SHAPES"] = f"{polygons}|layername={name}" if request.polygons == "gpkg" else polygons
        self._load(results, name, context)
        return results

    def _load(self, results: Mapping[str, str], name: str, context: QgsProcessingContext) -> None:
        """Has the layers added to the project, where there is one."""
        if context.project() is None:
            return
        for key, what in (("SCORE", "score"), ("LABELS", "classes"), ("SHAPES", "polygons")):
            if key in results:
                details = QgsProcessingContext.LayerDetails(f"{name}: {what}", context.project(), key)
                self._stylers.append(Styler())  # somebody has to keep them until then
                details.setPostProcessor(self._stylers[-1])
                context.addLayerToLoadOnCompletion(results[key], details)

    def _program(self, parameters: dict[str, Any], context: QgsProcessingContext) -> str:
        """The program that is to be run.

        Raises:
            QgsProcessingException: there is none.
        """
        given = self.parameterAsString(parameters, "PROGRAM", context)
        found = program_path(given) if given else remembered_program()
        if not found:
            what = f"no program at {given}" if given else "the program segearth was not found"
            raise QgsProcessingException(
                f"{what}: expected segearth in a Python environment of its own, not in that of QGIS; install it there, "
                "and give the path of its program in the parameter 'Program segearth' (bin/segearth, on Windows "
                "Scripts\\segearth.exe); it is remembered"
            )
        return found

    def _request(self, parameters: dict[str, Any], context: QgsProcessingContext) -> Request:
        """What is asked for.

        Raises:
            QgsProcessingException: the layer is no raster that segearth reads.
        """
        layer = self.parameterAsRasterLayer(parameters, "INPUT", context)
        if layer is None:
            raise QgsProcessingException(self.invalidRasterError(parameters, "INPUT"))

        def number(name: str) -> float | None:
            return self.parameterAsDouble(parameters, name, context) if parameters.get(name) is not None else None

        def text(name: str) -> str:
            return str(self.parameterAsString(parameters, name, context)).strip()

        def choice(name: str) -> str:
            return str(self.parameterAsEnumString(parameters, name, context))

        extent = self.parameterAsExtent(parameters, "EXTENT", context)
        box = None
        if not extent.isNull():
            crs = self.parameterAsExtentCrs(parameters, "EXTENT", context)
            named = (crs.authid() or crs.toWkt()) if layer.crs().isValid() and crs.isValid() else ""
            box = (extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()), str(named)
        return Request(
            address_of(layer),
            self.parameterAsString(parameters, "CLASSES", context),
            text("OUTPUT"),
            choice("MODEL"),
            number("THRESHOLD") or 0.0,
            number("GSD"),
            number("SCALE"),
            box,
            choice("POLYGONS"),
            number("MIN_AREA"),
            self.parameterAsBool(parameters, "CONFIDENCE", context),
            text("DEVICE") or "auto",
            choice("PRECISION"),
            self.parameterAsBool(parameters, "OVERWRITE", context),
            options_of(text("OPTIONS")),
        )
