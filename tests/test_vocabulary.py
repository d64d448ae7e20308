import os

import pytest

from segearth.errors import UserError
from segearth.vocabulary import Vocabulary

CLASSES = (("road",), ("tree", "forest"), ("building", "roof", "house"))


@pytest.mark.parametrize(
    "text",
    [
        "road; tree,forest; building,roof,house",
        " road ;tree , forest;building,roof,  house;\n",
        "road\ntree,forest\nbuilding,roof,house",
    ],
)
def test_from_string(text):
    vocabulary = Vocabulary.from_string(text)
    assert vocabulary.classes == CLASSES
    assert vocabulary.names == ("road", "tree", "building")
    assert vocabulary.queries == ("road", "tree", "forest", "building", "roof", "house")
    assert vocabulary.query_to_class == (0, 1, 1, 2, 2, 2)
    assert len(vocabulary) == 3


@pytest.mark.parametrize(
    "content",
    [
        b"road\ntree,forest\nbuilding,roof,house",
        b"road\ntree,forest\nbuilding,roof,house\n\n  \n",
        b"\xef\xbb\xbfroad\r\ntree, forest \r\nbuilding,roof,house\r\n",
    ],
    ids=["plain", "blank lines at the end", "BOM and Windows line ends"],
)
def test_from_file(tmp_path, content):
    path = tmp_path / "cls_test.txt"
    path.write_bytes(content)
    assert Vocabulary.from_file(path).classes == CLASSES
    assert Vocabulary.of(str(path)) == Vocabulary.from_file(path)


def test_from_list():
    assert Vocabulary.from_list(["road", ["tree", "forest"], "building,roof,house"]).classes == CLASSES
    assert Vocabulary.from_list(["road", ["lot, for parking"]]).names == ("road", "lot, for parking")
    assert Vocabulary.of(CLASSES).classes == CLASSES


def test_non_ascii_one_and_many_classes():
    assert Vocabulary.from_string("Straße; bâtiment").names == ("Straße", "bâtiment")
    assert len(Vocabulary.from_string("water")) == 1
    many = Vocabulary.from_list([f"thing {i}" for i in range(300)])
    assert len(set(many.palette)) == 300


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no classes"),
        ("\n\n", "no classes"),
        ("road\n\ntree\n", "line 2 .* is empty"),
        ("road\nwater; tree\n", "line 2 .* semicolon"),
        ("road\ntree,,forest\n", "line 2 .* empty name"),
        ("road\ntree,\n", "line 2 .* empty name"),
        ("road\ntree\nwater,Road\n", "'Road' in line 3 .* duplicate.*line 1"),
        ("road\ntree,tree\n", "'tree' in line 2 .* duplicate"),
    ],
)
def test_mistakes_name_the_line(tmp_path, content, message):
    path = tmp_path / "cls.txt"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        Vocabulary.from_file(path)


def test_mistakes_in_strings_and_lists():
    with pytest.raises(UserError, match="class 2 .* is empty"):
        Vocabulary.from_string("road;;tree")
    with pytest.raises(UserError, match="no classes"):
        Vocabulary.from_string("  ")
    with pytest.raises(UserError, match="expected a name"):
        Vocabulary.from_list(["road", [3]])
    with pytest.raises(UserError, match="expected a name"):
        Vocabulary.from_list([1, 2])
    with pytest.raises(UserError, match="from_string"):
        Vocabulary.from_list("road")


@pytest.mark.parametrize("background", [-1, 2])
def test_background_out_of_range(tmp_path, background):
    path = tmp_path / "cls.txt"
    path.write_text("road\ntree\n")
    with pytest.raises(UserError, match=r"background index .* out of range .*line 2"):
        Vocabulary.from_file(path, background=background)
    assert Vocabulary.from_file(path, background=1).background == 1


def test_unreadable_files(tmp_path):
    with pytest.raises(UserError, match="no class file"):
        Vocabulary.from_file(tmp_path / "none.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00r")
    with pytest.raises(UserError, match="UTF-8"):
        Vocabulary.from_file(tmp_path / "binary.txt")


def test_palette_is_familiar_and_distinct():
    vocabulary = Vocabulary.from_string("water; river; building,roof,house; xyz")
    assert vocabulary.palette[0] == (40, 105, 215)
    assert len(set(vocabulary.palette)) == 4


def test_a_string_that_is_a_path_is_read(tmp_path):
    (tmp_path / "names.csv").write_text("road\ntree,forest\n")
    assert Vocabulary.of(str(tmp_path / "names.csv")).names == ("road", "tree")
    with pytest.raises(UserError, match="is a folder"):
        Vocabulary.of(str(tmp_path))
    assert Vocabulary.of("roads/paths").names == ("roads/paths",)  # no such file: a name


def test_settings_of_a_class(tmp_path):
    path = tmp_path / "cls.txt"
    path.write_text(
        "# what the town wants\nroad\n  # tree,bush\ntree,forest | colour=#19732A | threshold=0.35 |scale=1.1\n"
    )
    from_file = Vocabulary.from_file(path)
    assert from_file.classes == (("road",), ("tree", "forest"))
    assert from_file.colours == (None, (0x19, 0x73, 0x2A))
    assert from_file.thresholds == (None, 0.35)
    assert from_file.scales == (1.0, 1.1)
    assert from_file.palette[1] == (0x19, 0x73, 0x2A)
    text = "road; tree,forest | colour=#19732A | threshold=0.35 | scale=1.1"
    assert Vocabulary.from_string(text) == from_file
    assert Vocabulary.from_list(text.split(";")) == from_file
    options = {"synonyms": ["forest"], "colour": "#19732A", "threshold": 0.35, "scale": 1.1}
    assert Vocabulary.from_dict({"road": None, "tree": options}) == from_file
    assert Vocabulary.from_dict({"road": None, "tree": options | {"colour": (0x19, 0x73, 0x2A)}}) == from_file
    assert Vocabulary.of({"road": [], "tree": "forest"}).classes == from_file.classes
    assert Vocabulary.of({"road": (), "tree": ["forest, dense"]}).names == ("road", "tree")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("road | color=#12", r"class 1 of class names: '#12' is no colour"),
        ("road; tree | threshold=high", r"class 2 .*threshold 'high' is no number"),
        ("road | threshold=2", r"class 1 .*threshold 2\.0 is no score"),
        ("road | scale=0", r"class 1 .*scale 0"),
        ("road | scale=nan", r"class 1 .*scale nan"),
        ("road | weight=3", r"'weight=3' is no setting"),
        ("road |", r"'' is no setting"),
    ],
)
def test_mistakes_in_settings(text, message):
    with pytest.raises(UserError, match=message):
        Vocabulary.from_string(text)


def test_mistakes_in_dicts_and_columns():
    with pytest.raises(UserError, match=r"'road': 3 is no class"):
        Vocabulary.from_dict({"road": 3})
    with pytest.raises(UserError, match=r"'width=3' is no setting"):
        Vocabulary.from_dict({"road": {"width": 3}})
    with pytest.raises(UserError, match=r"colours has 1 entries: expected one for each of the 2 classes"):
        Vocabulary([["road"], ["tree"]], colours=[(1, 2, 3)])


def test_backgrounds():
    assert Vocabulary.from_string("road; tree").background is None
    assert Vocabulary.from_string("road; tree,Other").background == 1
    assert Vocabulary.from_string("void; tree", False).background is None
    assert Vocabulary.from_string("road; wood,tree", "tree").background_name == "wood"
    assert Vocabulary.of(Vocabulary.from_string("road; void"), "road").background == 0
    with pytest.raises(UserError, match=r'background="sea" is none of the classes road, tree'):
        Vocabulary.from_string("road; tree", "sea")


@pytest.mark.parametrize("wrong", [1.5, [1], None])
def test_what_is_no_background_and_no_list_of_classes(wrong):
    if wrong is not None:
        with pytest.raises(UserError, match=r"expected a class's name or index"):
            Vocabulary.from_string("road; tree", wrong)
    with pytest.raises(UserError, match=r"no class"):
        Vocabulary.of(wrong)


def test_with_colours_keeps_all_else():
    before = Vocabulary.from_string("road | threshold=0.1; void; tree,forest", False)
    after = before.with_colours({"Forest": "#010203", "road": (4, 5, 6)})
    assert after.palette[0] == (4, 5, 6)
    assert after.palette[2] == (1, 2, 3)
    assert (after.background, after.thresholds) == (None, before.thresholds)
    with pytest.raises(UserError, match="'sea' is none of the classes"):
        before.with_colours({"sea": "#000000"})


def test_one_class_only_is_doubtful():
    assert Vocabulary.from_string("road; building").warning is None
    assert '"road; building; water"' in Vocabulary.from_string("road, building, water").warning
    assert '"road; building"' in Vocabulary.from_string("road building").warning
    assert '"water; background"' in Vocabulary.from_string("water").warning


def test_a_long_list_with_a_full_stop_is_no_path():
    names = [f"st. name {i}" for i in range(60)]
    assert Vocabulary.of(",".join(names)).classes == (tuple(names),)
    assert Vocabulary.of("\n".join(names)).names == tuple(names)
    with pytest.raises(UserError, match="cannot read the class file .*File name too long"):
        Vocabulary.of("a" * 300 + ".txt")


def test_only_regular_files_hold_classes(tmp_path):
    """A pipe without a writer, or a device, would be read for ever."""
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    for path, kind in (
        (tmp_path / "pipe.txt", "a pipe"),
        ("/dev/zero", "a device"),
        (tmp_path / "folder.txt", "folder"),
    ):
        for read in (Vocabulary.of, Vocabulary.from_file):
            with pytest.raises(UserError, match=f"{kind}.*: expected a text file"):
                read(str(path))
    (tmp_path / "large.txt").write_bytes(b"a\n" * 500_001)
    with pytest.raises(UserError, match="larger than 1 MB"):
        Vocabulary.from_file(tmp_path / "large.txt")


@pytest.mark.parametrize("name", ["tree\x1b[31m", "tr\x00ee", "tr\x7fee", "tree\udce9", "a\u2028b"])
def test_names_have_no_control_characters(name):
    with pytest.raises(UserError, match="control characters") as found:
        Vocabulary([["road"], [name]])
    assert str(found.value).isprintable()


@pytest.mark.parametrize("name", [None, 7, b"road", ("road",)])
def test_a_name_is_a_string(name):
    vocabulary = Vocabulary.from_string("road; None; 7")
    for call in (
        vocabulary.index,
        lambda one: vocabulary.with_thresholds({one: 0.5}),
        lambda one: vocabulary.with_colours({one: "#123456"}),
    ):
        with pytest.raises(UserError, match="is none of the classes road, None, 7"):
            call(name)
