"""NRRD volumes lie where their headers say; what cannot be read is named."""

from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclesense.errors import InputError
from musclesense.imaging.nrrd import is_nrrd, read_nrrd, segment_names
from musclesense.imaging.reader import read_image

DATA = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
HEADER: dict[str, Any] = {
    "space": "left-posterior-superior",
    "space directions": np.diag([1.5, 2.0, 5.0]),
    "space origin": np.array([10.0, 20.0, 30.0]),
}


def write(path: Path, data: Any = DATA, **fields: Any) -> Path:
    header = {name: value for name, value in {**HEADER, **fields}.items() if value is not None}
    nrrd.write(str(path), data, header)
    return path


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (-1, -1, 1)),
        ("LPS", (-1, -1, 1)),
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
    ],
)
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, ">i2"])
def test_voxels_lie_where_the_header_says(
    tmp_path: Path, space: str, signs: tuple[int, int, int], encoding: str, dtype: Any
) -> None:
    volume = read_nrrd(write(tmp_path / "a.nrrd", DATA.astype(dtype), space=space, encoding=encoding))
    assert np.array_equal(volume.data, DATA)
    assert volume.data.dtype == (np.float32 if np.dtype(dtype).kind == "f" else np.dtype(dtype).newbyteorder("="))
    wanted = np.diag([*signs, 1.0]) @ [[1.5, 0, 0, 10], [0, 2, 0, 20], [0, 0, 5, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.geometry.affine, wanted)


def test_the_content_tells_and_not_the_name(tmp_path: Path) -> None:
    file = write(tmp_path / "a.nrrd")
    assert np.array_equal(read_image(file.rename(tmp_path / "mask.seg"), "mask").data, DATA)
    assert not is_nrrd(tmp_path) and not is_nrrd(tmp_path / "none")
    assert segment_names(tmp_path / "mask.seg") == {}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"space": None, "space directions": None, "space origin": None}, "does not say where its voxels lie"),
        ({"space": "scanner-xyz"}, "does not say where its voxels lie"),
        ({"space directions": np.zeros((3, 3))}, "affine is singular"),
        ({"space directions": np.diag([1e4, 2, 5])}, "voxel size"),
    ],
)
def test_what_does_not_lie_anywhere_is_refused(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"a.nrrd: {said}.*; save it again as .nii.gz"):
        read_nrrd(write(tmp_path / "a.nrrd", **fields))


def test_layers_and_flat_images_are_refused(tmp_path: Path) -> None:
    layers = np.zeros((2, 3, 4, 5), np.uint8)
    directions = np.vstack([np.full(3, np.nan), np.diag([1.5, 2.0, 5.0])])
    with pytest.raises(InputError, match=r"has shape 2x3x4x5, segments lie in several layers.*; export it"):
        read_nrrd(write(tmp_path / "a.nrrd", layers, **{"space directions": directions}))
    nrrd.write(str(tmp_path / "b.nrrd"), layers[0, 0])
    with pytest.raises(InputError, match="has shape 4x5, not three axes"):
        read_nrrd(tmp_path / "b.nrrd")


def test_voxels_in_another_file_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "a.nhdr")
    with pytest.raises(InputError, match=r"a\.nhdr: keeps its voxels in another file"):
        read_nrrd(tmp_path / "a.nhdr")


@given(cut=st.integers(4, 400), flipped=st.integers(0, 400), bit=st.integers(0, 7))
def test_a_damaged_file_is_a_clear_error_or_a_volume(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flipped: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("nrrd")
    whole = bytearray(write(folder / "a.nrrd", Segment0_Name="x", Segment0_LabelValue="1").read_bytes())
    if flipped < len(whole):
        whole[flipped] ^= 1 << bit
    (folder / "a.nrrd").write_bytes(bytes(whole[:cut]) if cut < len(whole) else bytes(whole))
    for read in (read_nrrd, segment_names):
        try:
            read(folder / "a.nrrd")
        except InputError as error:
            assert len(error.problems) == 1 and str(error).startswith(str(folder / "a.nrrd"))
