"""What an image shows is told by its tags."""

import pytest

pytest.importorskip("pydicom", reason="reads DICOM")

from pydicom import Dataset

from musclesense.dicom.kinds import Kind, kinds_of


def header(image_type: str = "", frame_type: str = "", maker: str = "SIEMENS", **tags: str) -> Dataset:
    made = Dataset()
    made.Manufacturer = maker
    made.ImageType = image_type.split("|")
    if frame_type:
        made.FrameType = frame_type.split("|")
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def with_private(tag: int, vr: str, value: object, **given: str) -> Dataset:
    made = header(**given)
    made.add_new(tag, vr, value)
    return made


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("ORIGINAL|PRIMARY|M|NORM|DIS2D", Kind.MAGNITUDE),
        ("ORIGINAL|PRIMARY|P|DIS2D", Kind.PHASE),
        ("ORIGINAL|PRIMARY|M_FFE|M|FFE", Kind.MAGNITUDE),
        ("ORIGINAL|PRIMARY|PHASE MAP|P|FFE", Kind.PHASE),
        ("ORIGINAL|PRIMARY|R|FFE|R|FFE", Kind.REAL),
        ("ORIGINAL|PRIMARY|I|FFE|I|FFE", Kind.IMAGINARY),
        ("ORIGINAL|PRIMARY|OTHER", Kind.MAGNITUDE),
        ("DERIVED|PRIMARY|AXIAL", Kind.MAGNITUDE),
        ("", Kind.MAGNITUDE),
        ("DERIVED|PRIMARY|M|DIXON|FAT", Kind.FAT),
        ("DERIVED|PRIMARY|DIXON|WATER", Kind.WATER),
        ("ORIGINAL|PRIMARY|M|DIXON|IN_PHASE", Kind.IN_PHASE),
        ("ORIGINAL|PRIMARY|M|DIXON|OPP_PHASE", Kind.OUT_OF_PHASE),
        ("ORIGINAL|PRIMARY|DIXON|OUT_PHASE", Kind.OUT_OF_PHASE),
        ("ORIGINAL|PRIMARY|W|W|DERIVED", Kind.WATER),
        ("ORIGINAL|PRIMARY|F|F|DERIVED", Kind.FAT),
        ("ORIGINAL|PRIMARY|IP|IP|DERIVED", Kind.IN_PHASE),
        ("ORIGINAL|PRIMARY|OP|OP|DERIVED", Kind.OUT_OF_PHASE),
        ("ORIGINAL|PRIMARY|LOCALIZER", Kind.NO_SCAN),
        ("DERIVED|PRIMARY|DIXON|FAT_FRACTION", Kind.NO_SCAN),
        ("ORIGINAL|PRIMARY|FF|FF|DERIVED", Kind.NO_SCAN),
        ("DERIVED|PRIMARY|DIXON|R2_STAR", Kind.NO_SCAN),
        ("ORIGINAL|PRIMARY|T2_STAR|T2_STAR|DERIVED", Kind.NO_SCAN),
        ("DERIVED|PRIMARY|T1 MAP|RETRO", Kind.NO_SCAN),
        ("DERIVED|SECONDARY|PROJECTION IMAGE|MIP", Kind.NO_SCAN),
    ],
)
def test_image_types_of_three_vendors_tell_what_is_shown(words: str, kind: Kind) -> None:
    assert kinds_of(header(words)) == {kind}


@pytest.mark.parametrize(
    ("frame_type", "component", "kind"),
    [
        ("ORIGINAL|PRIMARY|T2_STAR|NONE", "MAGNITUDE", Kind.MAGNITUDE),
        ("ORIGINAL|PRIMARY|VOLUME|NONE", "PHASE", Kind.PHASE),
        ("ORIGINAL|PRIMARY|VOLUME|NONE", "REAL", Kind.REAL),
        ("ORIGINAL|PRIMARY|VOLUME|NONE", "IMAGINARY", Kind.IMAGINARY),
        ("DERIVED|PRIMARY|DIXON|FAT", "MAGNITUDE", Kind.FAT),
        ("ORIGINAL|PRIMARY|DIXON|WATER", "MIXED", Kind.WATER),
        ("ORIGINAL|PRIMARY|DIXON|FAT_FRACTION", "REAL", Kind.NO_SCAN),
        ("DERIVED|PRIMARY|T2_STAR|NONE", "MAGNITUDE", Kind.NO_SCAN),
    ],
)
def test_of_enhanced_images_the_frame_tells_and_not_the_file(frame_type: str, component: str, kind: Kind) -> None:
    made = header("ORIGINAL|PRIMARY|WATER|MIXED", frame_type, ComplexImageComponent=component)
    assert kinds_of(made) == {kind}


@pytest.mark.parametrize(("number", "kind"), list(enumerate([Kind.MAGNITUDE, Kind.PHASE, Kind.REAL, Kind.IMAGINARY])))
@pytest.mark.parametrize("stored", ["SS", "UN"])
def test_a_private_number_tells_parts_of_ge_alone(number: int, kind: Kind, stored: str) -> None:
    value = number if stored == "SS" else number.to_bytes(2, "little")
    given = {"image_type": "ORIGINAL|PRIMARY|OTHER"}
    assert kinds_of(with_private(0x0043102F, stored, value, maker="GE MEDICAL SYSTEMS", **given)) == {kind}
    assert kinds_of(with_private(0x0043102F, stored, value, maker="SIEMENS", **given)) == {Kind.MAGNITUDE}


@pytest.mark.parametrize(
    ("value", "kind"),
    [("M", Kind.MAGNITUDE), (b"P ", Kind.PHASE), (b"W\0", Kind.WATER), ("OP", Kind.OUT_OF_PHASE)]
    + [(value, Kind.NO_SCAN) for value in ("T2_STAR", b"R2", "B0", "DERIVED", "T1")],
)
def test_a_private_word_tells_images_of_philips(value: str | bytes, kind: Kind) -> None:
    vr = "UN" if isinstance(value, bytes) else "CS"
    made = with_private(0x20051011, vr, value, image_type="ORIGINAL|PRIMARY|T1|MIXED", maker="Philips")
    assert kinds_of(made) == {kind}


@pytest.mark.parametrize(
    ("vr", "words"),
    [("CS", ["DERIVED", "PRIMARY", "DIXON", "FAT"]), ("UN", rb"DERIVED\PRIMARY\DIXON\FAT "), ("UN", b"FAT\0")],
)
def test_siemens_keeps_the_classic_words_of_enhanced_images_beside(vr: str, words: list[str] | bytes) -> None:
    made = with_private(0x00211175, vr, words, frame_type="DERIVED|PRIMARY|NONE|NONE")
    assert kinds_of(made) == {Kind.FAT}


@pytest.mark.parametrize(
    ("made", "kinds"),
    [
        (header("DERIVED|PRIMARY|FAT|WATER"), {Kind.FAT, Kind.WATER}),
        (header("ORIGINAL|PRIMARY|M|P"), {Kind.MAGNITUDE, Kind.PHASE}),
        (header("ORIGINAL|PRIMARY|DIXON|WATER|P"), {Kind.WATER, Kind.PHASE}),
        (
            header("ORIGINAL|PRIMARY|MIXED", ComplexImageComponent="MIXED"),
            {Kind.MAGNITUDE, Kind.PHASE, Kind.REAL, Kind.IMAGINARY},
        ),
    ],
)
def test_tags_that_do_not_agree_leave_several_kinds(made: Dataset, kinds: set[Kind]) -> None:
    assert kinds_of(made) == kinds
