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
    with pytest.raises(UserError, match="cannot read the class file"):
        Vocabulary.of(str(tmp_path))
    assert Vocabulary.of("roads/paths").names == ("roads/paths",)  # no such file: a name
