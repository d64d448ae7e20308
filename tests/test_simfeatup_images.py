"""Folders of images, sound and unsound, to crops."""

import numpy as np
import pytest
import torch
from PIL import Image

from segearth.errors import UserError, UserNotice
from segearth.training.simfeatup import images as reading
from segearth.training.simfeatup.images import Crops, batches, cut, find_images, normalise_imagenet, usable_images


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Five sound images, one of them grayscale and one smaller than a crop, and five others."""
    (tmp_path / "deeper").mkdir()
    (tmp_path / ".hidden").mkdir()
    Image.fromarray(noise(70, 90, 3)).save(tmp_path / "a.png")
    Image.fromarray(noise(64, 64, 3, seed=1)).save(tmp_path / "deeper" / "b.JPG", "JPEG")
    Image.fromarray(noise(80, 80)).save(tmp_path / "gray.tif")
    Image.fromarray(noise(20, 100, 3)).save(tmp_path / "small.png")
    Image.fromarray(noise(66, 66, 3)).save(tmp_path / "z.png")
    Image.fromarray(noise(10, 10, 3)).save(tmp_path / "tiny.png")
    Image.fromarray(noise(70, 70).astype(np.uint16) * 200).save(tmp_path / "deep.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut_off.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / ".hidden" / "a.png").write_bytes(whole)
    return tmp_path


def names(paths):
    return sorted(str(path).rsplit("/", 1)[-1] for path in paths)


def test_headers_sort_out_what_cannot_be_used(folder):
    usable, left_out = usable_images(find_images([folder]), 64)
    assert names(usable) == ["a.png", "b.JPG", "cut_off.png", "gray.tif", "small.png", "z.png"]
    assert names(left_out) == ["deep.png", "empty.jpg", "text.png", "tiny.png"]
    reasons = {path.rsplit("/", 1)[-1]: why for path, why in left_out.items()}
    assert "16-bit" in reasons["deep.png"]
    assert "0 bytes" in reasons["empty.jpg"]
    assert "10 × 10 pixels: expected at least 16" in reasons["tiny.png"]


def test_a_truncated_image_is_replaced_by_the_next(folder):
    usable, _ = usable_images(find_images([folder]), 64)
    crops = Crops(usable, 64, seed=0)
    seen = [crops[number] for number in range(6)]
    assert all(sample.image.shape == (3, 64, 64) and sample.image.isfinite().all() for sample in seen)
    failures = [sample.left_out for sample in seen if sample.left_out]
    assert len(failures) == 1
    assert "truncated" in failures[0][str(folder / "cut_off.png")]


@pytest.mark.parametrize("workers", [0, 1])
def test_no_image_that_can_be_read(folder, workers):
    crops = Crops([folder / "cut_off.png"], 64, seed=0)
    with pytest.raises(UserError, match=r"^none of the 1 images can be read; the first one: .*truncated[^\n]*$"):
        next(batches(crops, 2, range(1), 0, 1, workers))


def test_exclude_leaves_out_folders_and_tells_what_fits_nothing(tmp_path):
    for name in ("a/images", "a/masks/deep", "a/b/masks"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (70, 70)).save(tmp_path / name / "0.png")
    with pytest.warns(UserNotice, match=r'exclude="\*.jpg" fits no image'):
        found = find_images([tmp_path / "a"], ["./masks/", "*.jpg"])
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a/images/0.png"]


def test_every_image_once_before_any_twice():
    crops = Crops([f"{n}.png" for n in range(7)], 64, seed=0)
    orders = [[crops.index(number) for number in range(first, first + 7)] for first in (0, 7, 14)]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert orders[0] != orders[1]
    assert [crops.index(number) for number in range(7)] == orders[0], "whatever was asked for before"


@pytest.mark.parametrize(("ranks", "workers"), [(1, 0), (1, 2), (2, 0), (3, 0)])
def test_neither_processes_nor_workers_change_a_sample(folder, ranks, workers):
    usable, _ = usable_images(find_images([folder]), 64)
    crops = Crops(usable, 64, seed=3)
    steps = range(1, 3)
    found = {}
    for rank in range(ranks):
        for batch in batches(crops, 4, steps, rank, ranks, workers):
            found |= {(batch.step, place): image for place, image in zip(batch.samples, batch.images, strict=True)}
            assert batch.total == 4
    assert sorted(found) == [(step, place) for step in steps for place in range(4)]
    for (step, place), image in found.items():
        assert torch.equal(image, crops[4 * step + place].image)


@pytest.mark.parametrize("pinned", [True, False])
def test_images_for_a_gpu_are_pinned(folder, monkeypatch, pinned):
    """What pins them is PyTorch's loader, which can do so beside a GPU alone."""
    asked = []

    def loader(*arguments, pin_memory, **options):
        asked.append(pin_memory)
        return torch.utils.data.DataLoader(*arguments, **options)

    monkeypatch.setattr(reading, "DataLoader", loader)
    next(batches(Crops([folder / "a.png"], 64, seed=0), 1, range(1), 0, 1, 0, pinned))
    assert asked == [pinned]


def test_crops():
    pixels = noise(70, 30, 3)
    crop = cut(pixels, 64, seed=5)
    assert crop.shape == (64, 64, 3)
    assert np.array_equal(crop[:, 17:47], cut(pixels[:, :], 64, seed=5)[:, 17:47])
    assert np.array_equal(crop[:, 16], crop[:, 18]), "17 columns are mirrored at the left, about the first pixel"
    assert any(np.array_equal(crop[:, 17:47], pixels[top : top + 64]) for top in range(7))
    assert len({cut(noise(300, 300), 64, seed).tobytes() for seed in range(20)}) == 20
    assert cut(noise(9, 9, 3), 64, 0).shape == (64, 64, 3), "mirrored more than once"


def test_normalised_as_imagenet():
    image = normalise_imagenet(np.full((2, 2, 3), 255, np.uint8))
    assert image[:, 0, 0].tolist() == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])


def test_folders_one_after_another_without_what_is_excluded(tmp_path):
    for name in ("b/images/1.png", "b/images/2_test.png", "b/masks/1.png", "a/deep/masks/1.png", "a/0.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_images([tmp_path / "b", tmp_path / "a"], ["masks/*", "*/masks/*", "*_test.png"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["b/images/1.png", "a/0.png"]
    with pytest.raises(UserError, match="2 were found and all of them excluded"):
        find_images([tmp_path / "a"], ["*"])


def test_links_are_followed_once_and_documents_are_no_images(tmp_path):
    """Collections are often folders of links."""
    (tmp_path / "store").mkdir()
    (tmp_path / "set").mkdir()
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "store/a.png")
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "store/paper.pdf")
    (tmp_path / "store/back").symlink_to(tmp_path / "store")
    (tmp_path / "set/linked").symlink_to(tmp_path / "store")
    assert find_images([tmp_path / "set"]) == [tmp_path / "set/linked/a.png"]


def test_no_images(tmp_path):
    with pytest.raises(UserError, match="no images in"):
        find_images([tmp_path])
    with pytest.raises(UserError, match="does not exist"):
        find_images([tmp_path / "nowhere"])
    (tmp_path / "file.png").touch()
    with pytest.raises(UserError, match="is a file"):
        find_images([tmp_path / "file.png"])
