"""From an upload to a scan's folder: no name from outside stays, no archive leads out, nothing grows endlessly."""

import gzip
import io
import json
import re
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclesense.errors import InputError
from musclesense.imaging.nifti import Geometry, read_volume, write_volume
from musclesense.intake.found import find
from musclesense.intake.names import Named, named
from musclesense.serve.unpack import unpack, words_of
from musclesense.serve.uploads import NAMES

MOST = 2**22


def upload(folder: Path, *files: tuple[str, bytes], role: str = "files") -> Path:
    """Write files as `receive` does."""
    folder.mkdir()
    for number, (_, content) in enumerate(files, start=1):
        (folder / f"{number:06d}").write_bytes(content)
    (folder / NAMES).write_text(json.dumps([[role, name] for name, _ in files]))
    return folder


def zipped(*files: tuple[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return packed.getvalue()


def laid_out(tmp_path: Path, *files: tuple[str, bytes], most: int = MOST, role: str = "files") -> list[str]:
    unpack(upload(tmp_path / "upload", *files, role=role), tmp_path / "out", most)
    return sorted(file.name for file in (tmp_path / "out").iterdir())


def refused(tmp_path: Path, *files: tuple[str, bytes], most: int = MOST) -> str:
    with pytest.raises(InputError) as error:
        unpack(upload(tmp_path / "upload", *files), tmp_path / "out", most)
    assert not (tmp_path / "out").exists()
    return str(error.value)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("image") / "image.nii.gz"
    voxels = np.arange(60).reshape(5, 4, 3)
    write_volume(file, voxels, Geometry.from_affine((5, 4, 3), np.diag([2.0, 2.0, 5.0, 1.0])), np.int16)
    return file.read_bytes()


# Names


@pytest.mark.parametrize(
    "name",
    [
        *(
            "fat.nii.gz",
            "Meyer_Anna_W.nii",
            "sub-01_part-phase_echo-2_MEGRE.nii.gz",
            "Dixon345.nii.gz",
            "x_te345.0.nii",
        ),
        *("OutOfPhase.nrrd", "in_phase.nii.gz", "t1.nii.gz", "fat_mask.nii.gz", "a_real_te4.6ms.nii.gz", "opp.nii"),
    ],
)
def test_what_intake_reads_of_a_name_is_kept(name: str) -> None:
    own = named(f"image-001{words_of(named(name))}.nii.gz")
    assert own[:3] + own[4:] == named(name)[:3] + named(name)[4:]


WORDS = st.sampled_from(
    re.split(
        " ",
        "fat F water W opp in_phase te 345 3.45 ms echo e1 2 ph mag real imag mask Dixon Smith äöü MEGRE ff t2_map "
        "1999-01-02 .. part-phase out",
    )
)


@given(st.lists(WORDS, min_size=1, max_size=6), st.sampled_from("_- ."))
def test_what_intake_reads_of_any_name_is_kept(words: list[str], between: str) -> None:
    told = named(f"{between.join(words)}.nii.gz")
    own = named(f"image-001{words_of(told)}.nii.gz")
    assert (own.kind, own.number, own.brief) == (told.kind, told.number, told.brief)
    assert own.echo_ms == (None if told.echo_ms is None else pytest.approx(told.echo_ms, abs=1e-6))


def test_no_name_of_a_person_stays(image: bytes, tmp_path: Path) -> None:
    sidecar = json.dumps({"PatientName": "Meyer", "EchoTime": 0.0046}).encode()
    files = [("Meyer/Meyer_e1.nii.gz", image), ("Meyer/Meyer_e1.json", sidecar), ("Meyer/notes.txt", b"Meyer")]
    assert laid_out(tmp_path, *files) == ["image-001_echo-1_part-mag.json", "image-001_echo-1_part-mag.nii.gz"]
    assert json.loads((tmp_path / "out" / "image-001_echo-1_part-mag.json").read_text()) == {"EchoTime": 0.0046}
    assert [*find(tmp_path / "out").images] == ["image", "te460"]


def test_the_visitor_may_say_what_an_image_is(image: bytes, tmp_path: Path) -> None:
    assert laid_out(tmp_path, ("water.nii.gz", image), role="fat") == ["image-001_fat.nii.gz"]


def test_a_header_of_import_dicom_names_the_images_that_are_there_alone(image: bytes, tmp_path: Path) -> None:
    images = {"scan_fat.nii.gz": {"kind": "fat", "echo_time_ms": 2.3}, "/etc/passwd": {"kind": "fat"}}
    header = json.dumps({"format": 1, "images": images, "PatientName": "Meyer"}).encode()
    laid_out(tmp_path, ("scan.json", header), ("scan_fat.nii.gz", image))
    told = json.loads((tmp_path / "out" / "scan.json").read_text())
    assert told == {"format": 1, "images": {"image-001_fat.nii.gz": {"kind": "fat", "echo_time_ms": 2.3}}}
    assert list(find(tmp_path / "out").images) == ["fat"]


# Archives


@pytest.mark.parametrize("top", ["", "scan/", "a/b/c/", "./", "scan\\"])
@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_zip_is_as_its_files(top: str, kind: int, image: bytes, tmp_path: Path) -> None:
    files = [(f"{top}fat.nii.gz", image), (f"{top}water.nii.gz", image), (f"{top}derived/fat.nii.gz", b"no image")]
    junk = [("__MACOSX/._fat.nii.gz", b"x"), (f"{top}.DS_Store", b"x"), (f"{top}Thumbs.db", b"x")]
    names = laid_out(tmp_path, ("scan.zip", zipped(*files, *junk, kind=kind)))
    assert names == ["image-001_fat.nii.gz", "image-002_water.nii.gz"]
    assert (read_volume(tmp_path / "out" / names[0]).data.ravel(order="F")[0]) == 0


def test_dicom_is_known_by_what_it_holds(tmp_path: Path) -> None:
    dicom = bytes(128) + b"DICM" + b"the rest" * 1000
    files = [("IM 1", dicom), ("deep/IM.2", dicom), ("DICOMDIR.txt", b"text"), ("empty", b"")]
    assert laid_out(tmp_path, ("export.zip", zipped(*files))) == ["dicom-000001.dcm", "dicom-000002.dcm"]
    assert (tmp_path / "out" / "dicom-000002.dcm").read_bytes() == dicom


@pytest.mark.parametrize("name", ["../fat.nii.gz", "a/../../fat.nii.gz", "/etc/fat.nii.gz", "C:\\fat.nii.gz", "..\\x"])
def test_a_path_that_leads_out_is_refused(name: str, image: bytes, tmp_path: Path) -> None:
    assert "leads out" in refused(tmp_path, ("scan.zip", zipped((name, image))))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_a_link_is_refused(kind: int, image: bytes, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        link = zipfile.ZipInfo("fat.nii.gz")
        link.create_system, link.external_attr = 3, (kind | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("water.nii.gz", image)
    assert "a link or a device" in refused(tmp_path, ("scan.zip", packed.getvalue()))


def bomb(size: int) -> bytes:
    return zipped(("fat.nii", bytes(size)))


def test_a_zip_that_grows_too_large_is_refused(tmp_path: Path) -> None:
    packed = bomb(MOST + 1)
    assert len(packed) < MOST / 100
    assert "larger than 4 MiB when unpacked" in refused(tmp_path, ("scan.zip", packed))


def test_a_zip_whose_sizes_are_lies_is_refused(tmp_path: Path) -> None:
    packed = bytearray(bomb(MOST + 1))
    directory = packed.rindex(b"PK\x01\x02")
    packed[22:26] = packed[directory + 24 : directory + 28] = (10).to_bytes(4, "little")
    assert "archive: is damaged" in refused(tmp_path, ("scan.zip", bytes(packed)))


@pytest.mark.parametrize("head", [b"", b"NRRD0004\nencoding: gzip\n\n"], ids=["nifti", "nrrd"])
def test_a_compressed_image_that_grows_too_large_is_refused(head: bytes, tmp_path: Path) -> None:
    packed = head + gzip.compress(bytes(MOST + 1))
    assert "when unpacked" in refused(tmp_path, ("fat.nrrd" if head else "fat.nii.gz", packed))


def test_several_that_are_too_large_together_are_refused(tmp_path: Path) -> None:
    files = [(f"e{number}.nii.gz", gzip.compress(bytes(MOST // 3))) for number in range(4)]
    assert "when unpacked" in refused(tmp_path, *files)
    (tmp_path / "few").mkdir()
    assert len(laid_out(tmp_path / "few", *files[:2])) == 2


def test_a_name_that_is_none_is_left_out(image: bytes, tmp_path: Path) -> None:
    assert laid_out(tmp_path, ("scan.zip", zipped(("", image), ("fat.nii.gz", image)))) == ["image-001_fat.nii.gz"]


@pytest.mark.parametrize("cut", [4, 30, 100, -1])
def test_a_zip_that_is_cut_off_is_refused(cut: int, image: bytes, tmp_path: Path) -> None:
    assert "archive: is damaged" in refused(tmp_path, ("scan.zip", zipped(("fat.nii.gz", image))[:cut]))


def test_an_encrypted_zip_is_refused(image: bytes, tmp_path: Path) -> None:
    packed = bytearray(zipped(("fat.nii.gz", image)))
    packed[6] |= 1
    packed[packed.rindex(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in refused(tmp_path, ("scan.zip", bytes(packed)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scan.tar", b"x" * 600),
        ("scan.tar.gz", b"\x1f\x8bxx"),
        ("s.rar", b"Rar!\x1a\x07\x00"),
        ("7", b"7z\xbc\xaf'\x1c"),
    ],
)
def test_other_archives_are_named(name: str, content: bytes, tmp_path: Path) -> None:
    assert "another kind than zip" in refused(tmp_path, (name, content))


@pytest.mark.parametrize("files", [[("notes.txt", b"text")], [("scan.zip", zipped(("a.pdf", b"x")))], [(".nii", b"x")]])
def test_an_upload_without_an_image_is_refused(files: Sequence[tuple[str, bytes]], tmp_path: Path) -> None:
    assert "holds no image" in refused(tmp_path, *files)


NAMES_OUTSIDE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
PLACES = st.one_of(
    NAMES_OUTSIDE,
    st.lists(
        st.sampled_from(["..", ".", "a", "C:", "fat", "water.nii.gz", "", "~", "con", "-rf", "scan.json"]), min_size=1
    ).map("/".join),
)
CONTENTS = st.one_of(st.binary(max_size=300), st.just(bytes(128) + b"DICM"), st.just(gzip.compress(bytes(5000))))


@given(
    files=st.lists(st.tuples(PLACES, CONTENTS), min_size=1, max_size=5),
    packed=st.none() | st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    damage=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 40),
)
def test_no_archive_and_no_name_writes_outside_its_folder(
    files: list[tuple[str, bytes]],
    packed: int | None,
    damage: list[tuple[int, int]],
    cut: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    place = tmp_path_factory.mktemp("fuzz")
    if packed is not None:
        content = bytearray(zipped(*dict(files).items(), kind=packed))
        for at, value in damage:
            content[at % len(content)] = value
        del content[len(content) - cut * bool(damage) :]
        files = [("scan.zip", bytes(content))]
    given_ = upload(place / "upload", *files)
    before = {file.name for file in given_.iterdir()}
    try:
        unpack(given_, place / "out", 10_000)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
        assert not (place / "out").exists()
    else:
        made = [*(place / "out").rglob("*")]
        assert made and all(file.is_file() and not file.is_symlink() for file in made)
        assert all(file.name.startswith(("image-", "dicom-")) or file.name == "scan.json" for file in made)
        assert sum(file.stat().st_size for file in made) <= 10_000
    assert {file.name for file in given_.iterdir()} == before
    assert {file.name for file in place.iterdir()} <= {"upload", "out"}


def test_a_name_is_told_as_it_is_understood() -> None:
    assert words_of(Named(None, None, None, "whoever")) == ""
