"""The scripts of the page give the numbers that Python gives, step by step."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.errors import InputError
from musclesense.imaging.body import background_level, body_centre, body_mask
from musclesense.imaging.frame import Frame
from musclesense.imaging.grid import Grid, take_slice
from musclesense.imaging.labels import LabelSet, decide
from musclesense.imaging.limbs import _middle_cut
from musclesense.imaging.nifti import Geometry, read_volume, write_volume
from musclesense.imaging.slicing import anatomical_axes
from musclesense.networks.onnx_predictor import OnnxPredictor
from musclesense.networks.spec import NetworkSpec
from musclesense.segmentation.pictures import upright, upright_step
from musclesense.segmentation.segmenter import _weighed
from musclesense.site.writing import _of_spec
from musclesense.vocabulary import Region

from ..shared.networks import spec_of
from .conftest import Step, array, told

CODES = ("RAS", "LPS", "LAS", "PIR", "SAL", "ASL", "IPR")
GRIDS = (Grid(), Grid(2.0, 40, 80), Grid(0.7, 33, 51), Grid(1.0, 24, 30, "stretch"))  # type: ignore[arg-type]


def limbs(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Two discs and what is about them."""
    rows, columns = np.indices(shape)
    image = rng.rayleigh(3, shape)
    for at in (0.27, 0.71):
        far = np.hypot((rows - shape[0] * 0.5) / shape[0], (columns - shape[1] * at) / shape[1])
        image += 100 * (far < 0.2) + 60 * (far < 0.12) * rng.random(shape)
    return image.astype(np.float32)


def affine_of(codes: str, zooms: tuple[float, float, float], tilt: float = 0.0) -> NDArray[np.float64]:
    """Axes of a scan, its zooms along right, anterior, superior, turned a little."""
    turn = np.eye(3)
    turn[1:, 1:] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    affine = np.eye(4)
    for axis, code in enumerate(codes):
        along, sign = next(
            (n, s) for n, pair in enumerate(("RL", "AP", "SI")) for c, s in zip(pair, (1, -1), strict=True) if c == code
        )
        affine[:3, axis] = sign * turn[:, along] * zooms[along]
    affine[:3, 3] = (-31.5, 12.25, 70)
    return affine


def scans(folder: Path) -> Iterator[Path]:
    """Scans of each sort of axes, voxels and tilts."""
    rng = np.random.default_rng(5)
    for number, codes in enumerate(CODES):
        zooms = ((1.25, 1.25, 8.0), (0.74, 0.74, 24.0), (0.9, 1.7, 5.0), (2.5, 2.4, 3.0))[number % 4]
        affine = affine_of(codes, zooms, tilt=(0, 0.3, 0.8)[number % 3])
        slices = np.stack([limbs(rng, (44, 97)) for _ in range(3)])  # superior, anterior, right
        order = [{"S": 0, "I": 0, "A": 1, "P": 1, "R": 2, "L": 2}[code] for code in codes]
        data = np.transpose(slices, order)
        write_volume(file := folder / f"{codes}.nii.gz", data, Geometry.from_affine(data.shape, affine), np.float32)
        yield file


@pytest.mark.parametrize("mode", ["reflect", "nearest"])
def test_smoothing(mode: str, steps: Step) -> None:
    rng = np.random.default_rng(1)
    images = [rng.normal(50, 30, shape).astype(np.float32) for shape in ((9, 40), (1, 5), (30, 3))]
    asked = [(image, sigmas) for image in images for sigmas in ((1.5, 1.5), (0.0, 0.37), (3.2, 0.1))]
    found = steps(*(("gaussian", {"image": told(i), "sigmas": s, "mode": mode}) for i, s in asked))
    for (image, sigmas), one in zip(asked, found, strict=True):
        wanted = ndimage.gaussian_filter(image, sigmas, mode=mode)
        assert np.array_equal(array(one, image.shape), wanted)


def test_the_body(steps: Step) -> None:
    rng = np.random.default_rng(2)
    images = [limbs(rng, shape) for shape in ((40, 80), (81, 33), (64, 64), (12, 150))]
    images += [np.zeros((6, 7), np.float32), -images[0], np.full((30, 30), 8, np.float32), np.pad(images[2], 9)]
    images += [rng.normal(0, 1, (20, 30)).astype(np.float32), (rng.random((25, 25)) > 0.5).astype(np.float32)]
    for image, found in zip(images, steps(*(("body", {"image": told(one)}) for one in images)), strict=True):
        wanted = body_mask(image)
        assert np.array_equal(array(found["body"], image.shape), wanted)
        assert found["level"] == background_level(image, wanted)
        assert tuple(found["centre"]) == body_centre(wanted)


def test_which_axis_is_which(steps: Step) -> None:
    rng = np.random.default_rng(3)
    asked = []
    for _ in range(300):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0] + rng.normal(0, 0.05, (3, 3))
        affine = np.eye(4)
        affine[:3, :3] = turn * rng.choice([0.7, 1.25, 4.0, 12.0], 3)
        asked.append((tuple(rng.choice([1, 9, 64], 3).tolist()), affine))
    given = (
        ("axes", {"shape": s, "affine": a.tolist(), "zooms": np.linalg.norm(a[:3, :3], axis=0).tolist()})
        for s, a in asked
    )
    for (shape, affine), found in zip(asked, steps(*given), strict=True):
        assert np.array_equal(found, anatomical_axes(shape, affine)[0]), (shape, affine)


def test_slices_on_the_grid_and_back(steps: Step, tmp_path: Path) -> None:
    asked = [(file, grid) for file in scans(tmp_path) for grid in GRIDS]
    found = steps(*(("frame", {"file": str(f), "grid": g.to_config(), "number": 1}) for f, g in asked))
    for (file, grid), one in zip(asked, found, strict=True):
        volume = read_volume(file)
        native = take_slice(volume.data, volume.geometry, 1)
        assert np.array_equal(array(one["native"]), native)
        assert one["up"] == pytest.approx(upright_step(volume.geometry))
        images, _, placement = Frame(grid, ("image",), "image").prepare(volume.geometry, {"image": native})
        assert (one["start"], one["step"]) == (pytest.approx(placement.start), pytest.approx(placement.step))
        assert one["transposed"] == placement.transposed
        np.testing.assert_allclose(array(one["pixels"], images[0].shape), images[0], atol=2e-6)
        back = placement.to_scanner(images[0])
        np.testing.assert_allclose(array(one["back"], native.shape), back, atol=4e-6)


def test_slices_are_shown_upright(steps: Step, tmp_path: Path) -> None:
    files = [*scans(tmp_path)]
    for file, found in zip(files, steps(*(("upright", {"file": str(file)}) for file in files)), strict=True):
        volume = read_volume(file)
        wanted = upright(volume.data, volume.geometry)
        assert np.array_equal(np.reshape(np.asarray(found, np.float32), wanted.shape), wanted)


@pytest.mark.parametrize(
    ("labels", "scales", "flip"),
    [
        ({"muscle": []}, (1.0,), False),
        ({"muscle": [1], "other": [2]}, (1.0, 1.3), True),
        ({"a_left": [3], "a_right": [4], "middle": [9]}, (0.85, 1.0, 1.15), True),
    ],
)
def test_looks_from_several_sides(
    labels: dict[str, list[int]], scales: tuple[float, ...], flip: bool, steps: Step
) -> None:
    network = {"name": "unet", "width": 4, "depth": 3}
    spec = NetworkSpec(
        channels=("image",),
        placed_by="image",
        labels=LabelSet.from_config(labels),
        grid=Grid(2.0, 38, 70),
        regions=(Region.CALF,),
        network=network,
        flip=flip,
        scales=scales,
    )
    image = np.random.default_rng(6).normal(size=(1, 38, 70)).astype(np.float32)

    class Pretended(OnnxPredictor):
        def __init__(self) -> None:
            self.spec, self._multiple = spec, 4

        def _run(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
            from musclesense.networks.onnx_predictor import _padded

            shown = _padded(np.ascontiguousarray(given), self._multiple)
            along = np.arange(shown.shape[-1]) / shown.shape[-1]
            found = [shown[:, 0] * (number + 1) / 10 + along for number in range(spec.classes)]
            return np.stack(found, 1).astype(np.float32)[..., : given.shape[-2], : given.shape[-1]]

    (found,) = steps(("find", {"image": told(image), "spec": dict(_of_spec(spec))}))
    wanted = Pretended().probabilities(image[None])[0]
    np.testing.assert_allclose(array(found, wanted.shape), wanted, atol=1e-6)


def test_the_likeliest_class(steps: Step) -> None:
    rng = np.random.default_rng(7)
    asked = [(rng.integers(0, 5, (n, 200)).astype(np.float32) / 8, t) for n in (1, 2, 5) for t in (0.5, 0.3, 0.875)]
    given = (("decide", {"classes": [*map(told, classes)], "threshold": threshold}) for classes, threshold in asked)
    for (classes, threshold), found in zip(asked, steps(*given), strict=True):
        assert np.array_equal(array(found), decide(classes, threshold))


def test_slices_beside_each_other_count(steps: Step) -> None:
    rng = np.random.default_rng(8)
    for count, across_mm, distance in ((1, 4.0, 5.0), (2, 4.0, 1.0), (5, 4.0, 5.0), (5, 4.0, 20.0), (4, 0.0, 1.0)):
        slices = rng.random((count, 2, 300), dtype=np.float32)
        spec = spec_of(across_mm=across_mm)
        weight = spec.weight_across(distance)
        asked = {"slices": [[*map(told, own)] for own in slices], "spec": dict(_of_spec(spec)), "distance": distance}
        (found,) = steps(("weighed", asked))
        assert found["weight"] == pytest.approx(weight, rel=1e-12)
        for got, wanted in zip(found["slices"], _weighed(iter(slices), weight), strict=True):
            assert np.array_equal([array(one) for one in got], wanted)


ORDERS: tuple[Literal["<"], Literal[">"]] = ("<", ">")
KINDS = ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")


def header_of(
    kind: str, shape: tuple[int, ...] = (4, 5, 3), order: Literal["<", ">"] = "<", **fields: Any
) -> nib.Nifti1Header:
    """A header of a file in its own right."""
    header = nib.Nifti1Header(endianness=order)
    header.set_data_shape(shape)
    header.set_data_dtype(np.dtype(kind).newbyteorder(order))
    header.set_sform(affine_of("LPS", (1.25, 1.5, 6.0), tilt=0.2), code=1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header["xyzt_units"] = 2
    for name, value in fields.items():
        header[name] = value
    return header


def stored(folder: Path, header: nib.Nifti1Header, *, packed: bool = False, cut: int = 0, more: bytes = b"") -> Path:
    """Write a file of a header, with voxels over the range of their type, up to what an image may hold."""
    kind = header.get_data_dtype()
    count = int(np.prod(header["dim"][1 : 1 + int(header["dim"][0])]))
    rng = np.random.default_rng(count)
    if kind.kind in "iu":
        low, high = max(np.iinfo(kind).min, -(2**39)), min(np.iinfo(kind).max, 2**39)
        voxels = rng.integers(low, high, count, endpoint=True).astype(kind)
    else:
        voxels = rng.normal(0, 1e4, count).astype(kind)
    content = bytes(header.binaryblock) + bytes(int(header["vox_offset"]) - 348) + voxels.tobytes()
    content = (content + more)[: len(content + more) - cut]
    file = folder / f"{len([*folder.iterdir()])}.nii"
    file.write_bytes(gzip.compress(content) if packed else content)
    return file


def test_files_are_read_as_python_reads_them(steps: Step, tmp_path: Path) -> None:
    headers = [header_of(kind, order=order) for kind in KINDS for order in ORDERS]
    headers += [header_of("i2", scl_slope=slope, scl_inter=2.5) for slope in (0.1, 0, np.nan, -3)]
    headers += [header_of("u1", shape) for shape in ((4, 5, 3, 1), (1, 7, 2), (9, 1, 4, 1, 1))]
    headers += [header_of("f4", vox_offset=400), header_of("i2", pixdim=[0, 1.1, 2, 3, 0, 0, 0, 0])]
    for quaternion in ((0, 0, 0), (0.1, -0.3, 0.9), (1, 0, 0), (0, 0.6, 0.8)):
        for side in (-1, 1):
            given = header_of("i2", sform_code=0, qform_code=1, pixdim=[side, 0.7, 0.7, 9, 0, 0, 0, 0])
            given["quatern_b"], given["quatern_c"], given["quatern_d"] = quaternion
            given["qoffset_x"], given["qoffset_y"] = -120.5, 33
            headers.append(given)
    headers += [header_of("i2", sform_code=0, pixdim=[1, 0.9, 1.2, 7, 0, 0, 0, 0]), header_of("i2", sform_code=4)]
    files = [stored(tmp_path, header, packed=number % 2 == 0) for number, header in enumerate(headers)]
    for file, found in zip(files, steps(*(("read", {"file": str(file)}) for file in files)), strict=True):
        wanted = read_volume(file)
        assert found["shape"] == list(wanted.geometry.shape)
        np.testing.assert_allclose(found["affine"], wanted.geometry.affine, atol=1e-5)
        assert np.array_equal(array(found["data"]), wanted.data.astype(np.float32).ravel(order="F"))


def test_files_that_python_refuses_are_refused(steps: Step, tmp_path: Path) -> None:
    damaged: list[tuple[nib.Nifti1Header, dict[str, Any]]] = [
        (header_of("i2"), {"cut": 3}),
        (header_of("i2"), {"more": b"x"}),
        (header_of("i2", (4, 5, 3, 2)), {}),
        (header_of("i2", (4, 5)), {}),
        (header_of("i2", magic=b"ni1"), {}),
        (header_of("i2", xyzt_units=1), {}),
        (header_of("i2", scl_slope=np.inf), {}),
        (header_of("f4", vox_offset=348), {}),
        (header_of("i2", pixdim=[1, 0, 1, 1, 0, 0, 0, 0]), {}),
        (header_of("i2", pixdim=[1, 600, 1, 1, 0, 0, 0, 0]), {}),
        (header_of("i2", srow_x=[0, 0, 0, 0]), {}),
        (header_of("i2", srow_x=[1, 1, 1, 0], srow_y=[1, 1, 1.1, 0]), {}),
        (header_of("i2", srow_x=[np.nan, 0, 0, 0]), {}),
        (header_of("i2", srow_x=[-1.25, 0, 0, 2e5]), {}),
        (header_of("i2", sform_code=0, qform_code=1, quatern_b=0.9, quatern_c=0.9), {}),
    ]
    files = [stored(tmp_path, header, packed=packed, **how) for header, how in damaged for packed in (False, True)]
    (tmp_path / "text.nii").write_text("no image" * 100)
    (tmp_path / "short.nii").write_bytes(b"\x5c\x01\0\0")
    (tmp_path / "cut.nii").write_bytes(files[1].read_bytes()[:60])
    files += [tmp_path / "text.nii", tmp_path / "short.nii", tmp_path / "cut.nii"]
    for number, shape in enumerate([(4097, 1, 1), (1024, 1024, 129)]):  # refused before a voxel is read
        (tmp_path / f"large{number}.nii").write_bytes(bytes(header_of("u1", shape).binaryblock) + bytes(4))
        files.append(tmp_path / f"large{number}.nii")
    for file, found in zip(files, steps(*(("read", {"file": str(file)}) for file in files)), strict=True):
        assert re.fullmatch(r"[^\n]{10,160}", found["refused"]), (file, found)
        with pytest.raises(InputError):
            read_volume(file)


def test_what_python_alone_reads_is_refused_with_a_way_out(steps: Step, tmp_path: Path) -> None:
    second = nib.Nifti2Image(np.ones((3, 4, 2)), np.eye(4))
    nib.save(second, tmp_path / "second.nii")
    files = [stored(tmp_path, header_of("c8")), tmp_path / "second.nii"]
    found = steps(*(("read", {"file": str(file)}) for file in files))
    assert [one["refused"] for one in found] == [
        "has voxels of type code 32; store real numbers",
        "is NIfTI-2; convert it to NIfTI-1",
    ]


def test_a_mask_is_written_in_the_voxels_of_the_image(steps: Step, tmp_path: Path) -> None:
    files = [*scans(tmp_path), stored(tmp_path, header_of("i2", order=">", sform_code=0, qform_code=2))]
    rng = np.random.default_rng(9)
    volumes = [read_volume(file) for file in files]
    masks = [rng.integers(0, 900, volume.data.shape).astype(np.uint16) for volume in volumes]
    given = (("write", {"file": str(f), "mask": told(m.ravel(order="F"))}) for f, m in zip(files, masks, strict=True))
    for volume, mask, found in zip(volumes, masks, steps(*given), strict=True):
        (out := tmp_path / "mask.nii.gz").write_bytes(array(found).tobytes())
        written = nib.load(out)
        assert np.array_equal(np.asanyarray(written.dataobj), mask)
        np.testing.assert_allclose(written.affine, volume.geometry.affine, atol=1e-5)
        for field in ("qform_code", "sform_code"):
            assert written.header[field] == volume.geometry.header[field]
        assert read_volume(out).geometry.difference(volume.geometry) is None


def test_areas_and_volumes(steps: Step, tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    for file in scans(tmp_path):
        volume = read_volume(file)
        bodies = np.zeros(volume.data.shape, np.uint8)
        for number in range(3):
            take_slice(bodies, volume.geometry, number)[:] = body_mask(take_slice(volume.data, volume.geometry, number))
        classes = (rng.integers(0, 3, volume.data.shape) * bodies).astype(np.uint8)
        given = {name: told(one.ravel(order="F")) for name, one in (("classes", classes), ("bodies", bodies))}
        labels = [{"name": "muscle"}, {"name": "other"}]
        both, one = steps(
            ("measure", {"file": str(file), "labels": labels, **given}),
            ("measure", {"file": str(file), "labels": labels, "classes": given["classes"]}),
        )
        ml, shown, inside = (
            np.prod(volume.geometry.zooms) / 1000,
            upright(classes, volume.geometry),
            upright(bodies, volume.geometry),
        )
        for number in range(3):
            cut = _middle_cut(inside[number].sum(axis=0).astype(int))
            for limb, part in (("right", shown[number][:, :cut]), ("left", shown[number][:, cut:])):
                row = next(r for r in both["rows"] if (r["slice"], r["limb"], r["label"]) == (number, limb, "other"))
                assert row["voxels"] == np.count_nonzero(part == 2)
                assert row["volume_ml"] == pytest.approx(row["voxels"] * ml)
        whole = next(r for r in one["rows"] if (r["slice"], r["limb"], r["label"]) == ("all", "one", "muscle"))
        assert whole["voxels"] == np.count_nonzero(classes == 1)
        most = (shown == 1).sum(axis=(1, 2))
        assert whole["largest_area_slice"] == int(most.argmax())
        assert len(both["csv"].splitlines()) == 1 + 2 * 2 * 4


def test_air_that_is_nan(steps: Step, tmp_path: Path) -> None:
    grid = Grid(2.0, 40, 80)
    file = next(scans(tmp_path))
    volume = read_volume(file)
    air, hole = volume.data.copy(), volume.data.copy()
    air[np.abs(air) < 2] = np.nan
    body = body_mask(take_slice(volume.data, volume.geometry, 1))
    air[:, :, 1][body] = volume.data[:, :, 1][body]
    middle = tuple(np.argwhere(ndimage.distance_transform_edt(body) > 6)[0])
    hole[(*middle, 1)] = np.nan
    for name, data in (("air", air), ("hole", hole)):
        write_volume(tmp_path / f"{name}.nii", data, volume.geometry, np.float32)
    asked = ({"file": str(tmp_path / f"{name}.nii"), "grid": grid.to_config(), "number": 1} for name in ("air", "hole"))
    taken, refused = steps(*(("frame", one) for one in asked))
    wanted = take_slice(np.nan_to_num(air), volume.geometry, 1)
    assert np.array_equal(array(taken["native"]), wanted)
    assert "NaN" in refused["refused"]
