# SPDX-FileCopyrightText: The SegEarth developers
# SPDX-License-Identifier: GPL-2.0-or-later
#
# This file is free software: you can redistribute it and/or modify it under the terms of the GNU General Public License
# as published by the Free Software Foundation, either version 2 of the License, or (at your option) any later version.
# It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the implied warranty of
# MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU General Public License for more details.
#
# It has that licence because it imports QGIS, which has it. It runs inside QGIS and does not import the package
# segearth, which is under the Apache License 2.0 and runs as a separate program.
"""Processing script for QGIS 3.22 and later: maps a raster layer with class names, by running `segearth predict`."""

from __future__ import annotations  # QGIS for Windows has used Python 3.9 for a long time

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

INSTALLED_BY = ""  # path of the program segearth that installed this file, if any
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

# Variables that QGIS sets for its Python, GDAL and PROJ; they do not fit segearth's environment.
_QGIS_VARIABLES = (
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "PROJ_DATA",
    "PROJ_LIB",
    "PYTHONEXECUTABLE",
    "PYTHONHOME",
    "PYTHONPATH",
)
_INTERRUPTED_S, _TERMINATED_S = 20, 40  # seconds after a cancel, until a stronger signal is sent
_POLYGONS_PERCENT = 5  # share of the progress bar for polygons
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
    """Input and settings of a map.

    Attributes:
        image: a path, or another address that GDAL knows.
        classes: as typed by the user, one per line.
        folder: folder for the results.
        model: name of the model.
        threshold: from 0 to 1.
        gsd: metres per pixel of the model; None: that of the raster.
        scale: model pixels per raster pixel; None: 1.
        box: west, south, east and north, and their coordinate system or "" for that of the raster; None: everything.
        polygons: one of `POLYGONS`.
        min_area: minimum area of polygons in m²; None: no minimum.
        confidence: whether to write a raster with the score of the best class.
        device: as of segearth.
        precision: as of segearth.
        overwrite: whether to start again and replace existing files.
        extra_options: further options of `segearth predict`.
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
    extra_options: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Returns the arguments of `segearth`; values that may start with a dash are joined to their option by "="."""
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
        return [*words, *self.extra_options, "--progress", "json"]


def class_list(text: str) -> str:
    """Converts classes, one per line, to one argument for the command line, without lines that start with #."""
    lines = (line.strip() for line in text.splitlines())
    return "; ".join(line.strip("; ") for line in lines if line.strip("; ") and not line.startswith("#"))


def split_options(text: str) -> tuple[str, ...]:
    """Splits options as in a shell, with quotes but without escapes, because Windows paths contain backslashes.

    Raises:
        QgsProcessingException: a quote is not closed.
    """
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    try:
        return tuple(lexer)
    except ValueError:
        raise QgsProcessingException(
            f"the further options {text!r} have a quote that is not closed: expected pairs of them; close it"
        ) from None


def shell_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment variables without those that QGIS sets for its own Python."""
    environment = {name: value for name, value in variables.items() if name.upper() not in _QGIS_VARIABLES}
    return {**environment, "PYTHONIOENCODING": "utf-8"}


def parse_event(line: str) -> dict[str, Any] | None:
    """Parses a line of JSON progress; returns None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def progress_percent(event: Mapping[str, Any], with_polygons: bool) -> float | None:
    """Returns the progress in percent; None if the event does not contain it."""
    mapping = 100 - _POLYGONS_PERCENT * with_polygons
    if event.get("tiles"):
        return float(mapping + (100 - mapping) * event["tiles_done"] / event["tiles"])
    if event.get("megapixels"):
        return float(mapping * event["megapixels_done"] / event["megapixels"])
    return None


def progress_text(event: Mapping[str, Any]) -> str:
    """Returns the progress in words; empty if only the progress bar changes."""
    if "tiles" in event:
        return "polygons"
    if "blocks" not in event:
        return ""
    if event["blocks_done"] == event["blocks"]:
        return "putting the map together"
    left = event.get("seconds_left")
    more = "" if left is None else f", about {format_duration(left)} left"
    return f"block {event['blocks_done'] + 1} of {event['blocks']}{more}"


def format_duration(seconds: float) -> str:
    """Formats seconds in a suitable unit."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def program_path(location: str) -> str | None:
    """Finds the program segearth by its path, the folder of its environment, or its name on PATH; else None."""
    location = os.path.expanduser(location.strip())  # noqa: PTH111 ("segearth" alone is searched on PATH)
    folders = ("", "bin", "Scripts") if Path(location).is_absolute() else ()
    candidates = (location, *(str(Path(location, folder, "segearth")) for folder in folders))
    program = next((path for candidate in candidates if (path := shutil.which(candidate))), None)
    return None if program is None else str(Path(program).absolute())


def saved_program() -> str:
    """Returns the program that was used last, else the one that installed this file, else one on PATH; else empty."""
    candidates = (str(QgsSettings().value(SETTING, "") or ""), INSTALLED_BY, "segearth")
    return next((path for candidate in candidates if (path := program_path(candidate))), "")


class _LineBuffer:
    """Splits a stream that arrives in pieces into complete lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes, end: bool = False) -> list[str]:
        """Adds a piece and returns the lines that are now complete; at the end also an unfinished last line."""
        *complete, self._rest = (self._rest + piece).split(b"\n")
        if end and self._rest:
            complete, self._rest = [*complete, self._rest], b""
        return [line.decode("utf-8", "replace").rstrip("\r") for line in complete]


class Run:
    """A run of the program segearth.

    Args:
        program: path of the program.
        request: input and settings.
        feedback: receives progress and messages, and can cancel the run.

    Attributes:
        files: paths of the files written, by kind: "labels.tif", "polygons.gpkg".
        error: the error message of the program.
        last: the last lines of its output.
    """

    def __init__(self, program: str, request: Request, feedback: QgsProcessingFeedback) -> None:
        self._program, self._request, self._feedback = program, request, feedback
        self._cancelled: float | None = None  # when
        self._shown_text = ""
        self._steps = 0  # of stopping it
        self.files: dict[str, str] = {}
        self.error = ""
        self.last: list[str] = []

    def __call__(self) -> int:
        """Runs the program and returns its exit code.

        Raises:
            QgsProcessingException: the program does not start.
        """
        process, arguments = QProcess(), self._request.arguments()
        variables = QProcessEnvironment()
        for name, value in shell_environment(os.environ).items():
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
        errors, output, running = _LineBuffer(), _LineBuffer(), True
        while running:
            running = not process.waitForFinished(200) and process.state() != QProcess.ProcessState.NotRunning
            for line in errors.feed(bytes(process.readAllStandardError()), not running):
                self._handle_line(line)
            for line in output.feed(bytes(process.readAllStandardOutput()), not running):
                self._feedback.pushConsoleInfo(line)
            if running and self._feedback.isCanceled():
                self._stop(process)
        is_crash = process.exitStatus() == QProcess.ExitStatus.CrashExit
        return -1 if is_crash else int(process.exitCode())

    def _handle_line(self, line: str) -> None:
        """Processes an output line of the program: progress or message."""
        event = parse_event(line)
        if event is None:
            self._log_line(line)
            return
        self.files |= {file_kind(path): path for path in event.get("files", ())}
        percent = progress_percent(event, self._request.polygons != NO_POLYGONS)
        if percent is not None:
            self._feedback.setProgress(percent)
        text = progress_text(event)
        step = text.partition(",")[0]
        if text and step != self._shown_text:  # once per block, because these lines stay in the log
            self._shown_text = step
            self._feedback.setProgressText(text)

    def _log_line(self, line: str) -> None:
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
        """Stops the program, first by an interrupt as Ctrl-C. Finished blocks are kept, so a later run resumes."""
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
    """Sends an interrupt as Ctrl-C does; on Windows, where this needs a console, kills the program and its workers."""
    if os.name == "nt":
        QProcess.execute("taskkill", ["/PID", str(number), "/T", "/F"])
    elif number > 0:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(number, signal.SIGINT)


def file_kind(path: str) -> str:
    """Returns the kind of a file of a map: "labels.tif" for town.labels.tif."""
    return ".".join(Path(path).name.rsplit(".", 2)[1:])


class StyleLoader(QgsProcessingLayerPostProcessorInterface):
    """Loads the default style of a result layer, which Processing does not do."""

    def postProcessLayer(  # noqa: N802 (names of QGIS, here and below)
        self,
        layer: QgsMapLayer,
        context: QgsProcessingContext,  # noqa: ARG002
        feedback: QgsProcessingFeedback,  # noqa: ARG002
    ) -> None:
        """Loads the style next to the file, or in the GeoPackage."""
        layer.loadDefaultStyle()
        layer.triggerRepaint()


def layer_address(layer: QgsRasterLayer) -> str:
    """Returns the address of a layer for segearth.

    Raises:
        QgsProcessingException: the layer is no GDAL raster.
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
    """The Processing algorithm SegEarth > Map with class names."""

    _style_loaders: ClassVar[list[StyleLoader]] = []

    def createInstance(self) -> SegEarth:  # noqa: N802
        """Returns a new instance."""
        return SegEarth()

    def name(self) -> str:
        """Returns the name for `qgis_process run script:segearth`."""
        return "segearth"

    def displayName(self) -> str:  # noqa: N802
        """Returns the name in the toolbox."""
        return "Map with class names"

    def group(self) -> str:
        """Returns the group in the toolbox."""
        return "SegEarth"

    def groupId(self) -> str:  # noqa: N802
        """Returns the identifier of the group."""
        return "segearth"

    def tags(self) -> list[str]:
        """Returns search terms."""
        return ["classification", "segmentation", "land cover", "CLIP", "SegEarth"]

    def shortHelpString(self) -> str:  # noqa: N802
        """Returns the help text of the dialog."""
        return _HELP.replace("\n\n", "<br><br>")

    def initAlgorithm(self, configuration: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002, N802
        """Declares parameters and outputs."""
        number, real = QgsProcessingParameterNumber, QgsProcessingParameterNumber.Type.Double
        program = saved_program()
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
        """Checks the parameters; refuses an empty list of classes."""
        if not class_list(self.parameterAsString(parameters, "CLASSES", context)):
            return False, "no class is given: expected one a line, such as tree,forest"
        is_valid, message = super().checkParameterValues(parameters, context)
        return bool(is_valid), str(message)

    def processAlgorithm(  # noqa: N802
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Maps the raster and loads the results.

        Raises:
            QgsProcessingException: the map could not be made.
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
            output = "; ".join(run.last[-3:]) or "nothing"
            raise QgsProcessingException(
                run.error or f"segearth ended with {code} and without a map; its last output: {output}"
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
        """Adds the result layers to the project, if there is one."""
        if context.project() is None:
            return
        for key, what in (("SCORE", "score"), ("LABELS", "classes"), ("SHAPES", "polygons")):
            if key in results:
                details = QgsProcessingContext.LayerDetails(f"{name}: {what}", context.project(), key)
                self._style_loaders.append(StyleLoader())  # keeps a reference until the layer is loaded
                details.setPostProcessor(self._style_loaders[-1])
                context.addLayerToLoadOnCompletion(results[key], details)

    def _program(self, parameters: dict[str, Any], context: QgsProcessingContext) -> str:
        """Returns the path of the program.

        Raises:
            QgsProcessingException: the program was not found.
        """
        parameter = self.parameterAsString(parameters, "PROGRAM", context)
        program = program_path(parameter) if parameter else saved_program()
        if not program:
            what = f"no program at {parameter}" if parameter else "the program segearth was not found"
            raise QgsProcessingException(
                f"{what}: expected segearth in a Python environment of its own, not in that of QGIS; install it there, "
                "and give the path of its program in the parameter 'Program segearth' (bin/segearth, on Windows "
                "Scripts\\segearth.exe); it is remembered"
            )
        return program

    def _request(self, parameters: dict[str, Any], context: QgsProcessingContext) -> Request:
        """Creates the request from the parameters.

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
            layer_address(layer),
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
            split_options(text("OPTIONS")),
        )
