"""What names and json files say of images: the names that people, scanners' exports and BIDS give."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclesense.dicom.kinds import Kind
from musclesense.errors import InputError
from musclesense.intake.names import beside, echo_times, is_image, kind_by_tags, named

KNOWN = {
    Kind.FAT: "fat sub-01_ses-1_fat S001_F t1_vibe_dixon_tra_F Dixon_FAT FatOnly x.fat fat_water_F thigh-fat gt_01_fat",
    Kind.WATER: "water sub-01_water S1_W mDIXON_W DixonWater water_image fat_water_W WATER",
    Kind.IN_PHASE: "inphase in_phase X_InPhase vibe_in IP sub-01_inphase in-phase",
    Kind.OUT_OF_PHASE: "outphase out_of_phase OutOfPhase opp_phase opposed_phase vibe_opp sub-1_outphase",
    Kind.MAGNITUDE: "Dixon345 dixon_460 1-0017-Dixon_TE_345_calf te16 te345_magnitude gre_e1 sub-1_MEGRE TE_5.75ms",
    Kind.PHASE: "te460_phase_mrad gre_e2_ph sub-1_echo-1_part-phase_MEGRE phase_e3 te345Phase",
    Kind.REAL: "gre_e2_real sub-1_part-real_MEGRE te345_re",
    Kind.IMAGINARY: "gre_e2_imaginary sub-1_part-imag_MEGRE te345_imag",
    Kind.NO_SCAN: "mask fat_mask reference_fat fat_fraction fatfraction FF S1_pdff R2star T2starmap B0 dseg roi_fat "
    "thigh_labels water_phase sub-1_desc-manual_dseg localizer",
    None: "t1 gradient_echo muscles T1_fatsat water_excitation_t2 pd_fat_sat sub-01_T1w fatima",
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in KNOWN.items() for name in names.split()])
def test_names_tell_what_an_image_shows(kind: Kind | None, name: str) -> None:
    assert named(f"{name}.nii.gz").kind is kind
    assert named(f"{name}.nrrd").kind is kind


@pytest.mark.parametrize(
    ("name", "time", "number"),
    [
        ("Dixon345", 3.45, None),
        ("1-0017-Dixon_TE_575_calf", 5.75, None),
        ("te3.45_mag", 3.45, None),
        ("TE3p45", 3.45, None),
        ("te16", 16.0, None),
        ("te120", 120.0, None),
        ("TE_5.75ms_magnitude", 5.75, None),
        ("sub-1_echo-12_MEGRE", None, 12),
        ("gre_e2_ph", None, 2),
        ("gre_echo3", None, 3),
        ("magnitude", None, None),
    ],
)
def test_names_tell_echoes(name: str, time: float | None, number: int | None) -> None:
    assert named(f"{name}.nii.gz")[1:3] == (time, number)


@given(
    kind=st.sampled_from([Kind.FAT, Kind.WATER, Kind.IN_PHASE, Kind.OUT_OF_PHASE]),
    before=st.lists(st.sampled_from(["sub-01", "S1", "ses_2", "left", "thigh", "20240101", "vibe", "TE"]), max_size=3),
    glue=st.sampled_from(["_", "-", " ", "."]),
    case=st.sampled_from([str, str.upper, str.title]),
)
def test_whose_it_is_does_not_change_what_it_shows(kind: Kind, before: list[str], glue: str, case) -> None:
    found = named(glue.join([*before, case(kind.value)]) + ".nii.gz")
    assert found.kind is kind and not found.brief
    assert found.stem == named(glue.join([*before, "t1"]) + ".nii.gz").stem.removesuffix("t1").rstrip("_")


def test_images_are_known_by_their_endings() -> None:
    yes = ("a.nii", "a.nii.gz", "A.NII.GZ", "a.nrrd", "a.seg.nrrd", "a.hdr", "a.nii.bz2")
    no = ("a.img", "a.json", ".a.nii.gz", "a.txt", "nii.gz", "a.dcm", "a.nii.gz.draft")
    assert all(is_image(Path(name)) for name in yes) and not any(is_image(Path(name)) for name in no)


@pytest.mark.parametrize(
    ("given_", "times"),
    [
        ({"EchoTime": 0.0046}, [4.6]),
        ({"EchoTime": 4.6}, [4.6]),
        ({"EchoTime": [0.00345, 0.0046]}, [3.45, 4.6]),
        ({"EchoTime": [10.9, 185.3]}, [10.9, 185.3]),
        ({"EchoTime": "4.6"}, []),
        ({"EchoTime": 0}, []),
        ({"EchoTime": float("nan")}, []),
        ({}, []),
    ],
)
def test_echo_times_are_in_seconds_or_milliseconds(given_: dict, times: list[float]) -> None:
    assert echo_times(given_) == times


def test_the_json_file_beside_an_image_is_read(tmp_path: Path) -> None:
    image = tmp_path / "a.b.nii.gz"
    assert beside(image) == {}
    (tmp_path / "a.b.json").write_text(json.dumps({"EchoTime": 0.0046}))
    assert beside(image) == {"EchoTime": 0.0046}
    (tmp_path / "a.b.json").write_text("[1, 2]")
    assert beside(image) == {}
    (tmp_path / "a.b.json").write_text("{")
    with pytest.raises(InputError, match=r"a\.b\.json: cannot be read .*; correct it, or move it away"):
        beside(image)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["DERIVED", "PRIMARY", "DIXON", "WATER"], Kind.WATER),
        (["ORIGINAL", "PRIMARY", "M", "DIXON", "FAT"], Kind.FAT),
        (["ORIGINAL", "PRIMARY", "P", "ND"], Kind.PHASE),
        (["DERIVED", "PRIMARY", "FAT_FRACTION"], Kind.NO_SCAN),
        (["ORIGINAL", "PRIMARY", "M", "ND"], None),
        ("DERIVED", None),
    ],
)
def test_tags_that_a_converter_kept_tell_what_an_image_shows(words: object, kind: Kind | None) -> None:
    pytest.importorskip("pydicom", reason="reads tags of DICOM")
    assert kind_by_tags({"ImageType": words}) is kind
