"""Evaluation reads what prediction reads, to the same pixels, and refuses what it refuses; 8-bit RGB is OpenCV's."""

import cv2
import numpy as np
import pytest
import tifffile
from mmcv.transforms import LoadImageFromFile
from PIL import Image
from test_tiff import NIR, REFUSED, RGB, RGBN, jp2, sparse

from segearth.errors import UserError
from segearth.images import read_header, read_image
from segearth.openmmlab import reading
from segearth.openmmlab.datasets import open_dataset
from segearth.openmmlab.reading import ReadImage

LABELS = np.zeros(RGB.shape[:2], np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)


@pytest.fixture
def pair(tmp_path):
    """Opens a data set of one image, or several, which `write(path)` makes."""

    def opened(*writers, suffix=".tif", labels=LABELS, pipeline=()):
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
        for i, write in enumerate(writers):
            write(tmp_path / f"images/{i}{suffix}")
            Image.fromarray(labels).save(tmp_path / f"labels/{i}.png")
        return open_dataset(
            {
                "type": "BaseSegDataset",
                "img_suffix": suffix,
                "data_prefix": {"img_path": str(tmp_path / "images"), "seg_map_path": str(tmp_path / "labels")},
                "metainfo": {"classes": ("a", "b"), "palette": [[0, 0, 0], [1, 1, 1]]},
                "pipeline": pipeline
                or [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"}],
            }
        )

    return opened


def writer(array, **options):
    return lambda path: tifffile.imwrite(path, array, **{"metadata": None, **options})


@pytest.mark.parametrize(
    ("name", "array", "options"),
    [
        ("a.png", NOISE, {}),
        ("gray.png", NOISE[..., 0], {}),
        ("a.bmp", NOISE, {}),
        ("a.webp", NOISE, {"quality": 80}),
        *((f"{s}.jpg", NOISE, {"quality": 90, "subsampling": s}) for s in (0, 1, 2)),
        ("progressive.jpg", NOISE, {"quality": 60, "progressive": True}),
        ("gray.jpg", NOISE[..., 0], {"quality": 90}),
        *(
            (f"{compression}.tif", NOISE, {"compression": compression})
            for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
        ),
    ],
)
def test_pixels_are_opencvs(tmp_path, name, array, options):
    """What figures of data sets were made with until now."""
    path = tmp_path / name
    Image.fromarray(array).save(path, **options)
    expected = LoadImageFromFile()({"img_path": str(path)})
    found = ReadImage()({"img_path": str(path)})
    assert np.array_equal(found["img"], expected["img"])
    assert found["img"].flags["C_CONTIGUOUS"]
    assert (found["img_shape"], found["ori_shape"]) == (expected["img_shape"], expected["ori_shape"])
    assert np.array_equal(cv2.imread(str(path)), found["img"])


def test_transparency_and_palettes_are_opencvs(tmp_path):
    palette = Image.fromarray(NOISE).quantize(16)
    palette.save(tmp_path / "palette.png")
    palette.save(tmp_path / "transparent.png", transparency=0)
    Image.fromarray(np.dstack([NOISE, NOISE[..., :1]])).save(tmp_path / "alpha.png")
    for path in tmp_path.iterdir():
        expected = LoadImageFromFile()({"img_path": str(path)})["img"]
        assert np.array_equal(ReadImage()({"img_path": str(path)})["img"], expected), path.name


@pytest.mark.parametrize(
    ("write", "remarks"),
    [
        (writer(RGB, photometric="rgb"), 0),
        (writer(RGB, photometric="minisblack", planarconfig="contig"), 1),
        (writer(RGBN, photometric="minisblack", planarconfig="contig"), 1),
        (writer(RGBN.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", extrasamples=["unspecified"]), 1),
        (writer(RGB[::-1, ::-1], photometric="rgb", extratags=[(274, 3, 1, 3, True)]), 1),
        (writer(np.rot90(RGB), photometric="rgb", extratags=[(274, 3, 1, 6, True)]), 1),
    ],
)
def test_the_same_pixels_as_prediction(pair, tmp_path, write, remarks):
    """Each of these is the same picture; OpenCV gives one of them only."""
    dataset = pair(write)
    loaded = dataset[0]
    assert np.array_equal(loaded["inputs"].numpy()[::-1].transpose(1, 2, 0), RGB)
    assert np.array_equal(read_image(tmp_path / "images/0.tif")[0], RGB)
    assert loaded["data_samples"].ori_shape == RGB.shape[:2]
    assert len(dataset.remarks) == remarks


@pytest.mark.parametrize("name", REFUSED)
def test_what_prediction_refuses_is_refused_before_the_run(pair, name):
    make, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as caught:
        pair(writer(RGB, photometric="rgb"), make, make)
    assert "images/1.tif" in str(caught.value)
    assert str(caught.value).endswith("(1 more of the 3 images are refused)")


def test_other_formats_are_refused_alike(pair):
    with pytest.raises(UserError, match=r"images/0\.jp2 is a 16-bit image"):
        pair(lambda path: jp2(path, 3, 16, 16), suffix=".jp2")
    with pytest.raises(UserError, match=r"images/0\.png is a 16-bit image"):
        pair(lambda path: Image.fromarray(RGB[..., 0].astype(np.uint16)).save(path), suffix=".png")
    with pytest.raises(UserError, match=r"images/0\.jpg is not an image of a kind that is read here"):
        pair(lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n"), suffix=".jpg")


def test_a_sparse_label_map_is_refused(tmp_path):
    """Pillow, with which mmseg reads labels, takes the head of the file for the pixels that were left out."""
    image, label = tmp_path / "image.png", tmp_path / "label.tif"
    Image.fromarray(RGB).save(image)
    sparse(label, LABELS, tile=(16, 16))
    with pytest.raises(UserError, match=r"the label map .*label\.tif is a sparse TIFF, .* -co SPARSE_OK=FALSE"):
        reading._check_label(str(image), read_header(image), str(label))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_of_the_image_as_it_is_stored(pair, orientation):
    with pytest.raises(
        UserError, match=rf"48 once it is turned upright as its EXIF orientation \({orientation}\)"
    ) as no:
        pair(
            writer(RGB.transpose(1, 0, 2), photometric="rgb", extratags=[(274, 3, 1, orientation, True)]),
            labels=LABELS.T,
        )
    assert "expected one label a pixel; turn the label map, or remove the tag if" in str(no.value)


def test_labels_are_looked_at_before_the_run(pair, tmp_path):
    with pytest.raises(UserError, match=r"labels/0.png has 79 × 48 pixels, its image .*0.tif 80 × 48: expected one la"):
        pair(writer(RGB, photometric="rgb"), labels=LABELS[:, 1:])
    pair(writer(RGB, photometric="rgb"))
    (tmp_path / "labels/0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 80 48\n")
    with pytest.raises(UserError, match=r"labels/0.png is damaged or no picture .*: expected PNG or TIFF"):
        pair()


def test_one_remark_for_all_images_of_a_kind(pair, tmp_path):
    turned = writer(RGB, photometric="rgb", extratags=[(274, 3, 1, 3, True)])
    keys = [(34735, 3, 4, (1, 1, 0, 0), True)]
    dataset = pair(turned, turned, turned, writer(RGB, photometric="rgb", extratags=keys))
    (remark,) = dataset.remarks
    assert remark.startswith(f"{tmp_path / 'images/0.tif'} is turned upright as its EXIF orientation (3) says")
    assert remark.endswith(" (2 more of the images likewise)")


def test_floats_and_other_loaders(pair):
    steps = [{"type": "LoadImageFromFile", "to_float32": True}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"}]
    dataset = pair(writer(NIR[..., 0], photometric="minisblack"), pipeline=steps)
    image = dataset[0]["inputs"].numpy()
    assert image.dtype == np.float32
    assert np.array_equal(image[1], NIR[..., 0])
    steps[0] = {"type": type("Own", (LoadImageFromFile,), {})}  # the user's own choice keeps its own rules
    assert pair(writer(RGB.astype(np.uint16), photometric="rgb"), pipeline=steps).remarks == []


def test_steps_that_fail_are_told_before_the_run_and_do_not_blame_the_files(pair):
    steps = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"}]
    steps.insert(1, {"type": "Resize", "scale": (8, 8), "interpolation": "foo"})
    with pytest.raises(UserError, match=r"the steps of .*pipeline fail on .*0.tif .*KeyError: 'foo'\), although both"):
        pair(writer(RGB), pipeline=steps)
