"""The grid: orientation, exact inverses, finding the body."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from musclesense.errors import InputError
from musclesense.imaging.body import background_level, body_mask
from musclesense.imaging.grid import Fit, Grid, Placement, slice_axis, slice_count, slice_zooms, take_slice
from musclesense.imaging.nifti import Geometry, read_volume, write_volume

ORIENTATIONS = [
    (axes, signs) for axes in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]


def make_geometry(
    axes: tuple[int, ...] = (0, 1, 2),
    signs: tuple[int, ...] = (1, 1, 1),
    extent_mm: tuple[float, float, float] = (400.0, 200.0, 30.0),
    zooms: tuple[float, float, float] = (1.0, 1.0, 10.0),
    angles: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Geometry:
    """Store right-left, anterior-posterior, superior-inferior (extent and zoom of each) as array axes ``axes``.

    ``signs`` flips array axes, ``angles`` (degrees) turns the whole about the scanner's axes; the middle voxel lies
    at the scanner's origin.
    """
    directions = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    linear = np.stack([directions[:, axis] * sign * zooms[axis] for axis, sign in zip(axes, signs, strict=True)], 1)
    i, j, k = (max(1, round(extent_mm[axis] / zooms[axis])) for axis in axes)
    shape = (i, j, k)
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = -linear @ ((np.array(shape) - 1) / 2)
    return Geometry.from_affine(shape, affine)


def body_coordinates(geometry: Geometry, angles: tuple[float, float, float]) -> np.ndarray:
    """Give right (+), anterior (+), superior (+) mm of every voxel in axes that are turned with the volume."""
    indices = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), -1)
    scanner = nib.affines.apply_affine(geometry.affine, indices)
    return scanner @ Rotation.from_euler("xyz", angles, degrees=True).as_matrix()


def disc(points: np.ndarray, right: float, anterior: float, radius: float) -> np.ndarray:
    return (points[..., 0] - right) ** 2 + (points[..., 1] - anterior) ** 2 <= radius**2


def random_placement(data: st.DataObject, fit: Fit = Fit.CENTRE):
    axes, signs = data.draw(st.sampled_from(ORIENTATIONS))
    zooms = data.draw(st.tuples(st.floats(0.4, 3), st.floats(0.4, 3), st.floats(3, 20)))
    angles = data.draw(st.tuples(*[st.floats(-20, 20)] * 3))
    extent = data.draw(st.tuples(st.floats(20, 200), st.floats(20, 200), st.just(20.0)))
    geometry = make_geometry(axes, signs, extent, zooms, angles)
    grid = Grid(spacing_mm=data.draw(st.floats(0.5, 3)), rows=32, columns=64, fit=fit)
    seed = data.draw(st.integers(0, 99))
    volume = np.random.default_rng(seed).random(geometry.shape)
    return grid.place(geometry, take_slice(volume, geometry, 0))


def native_points(placement: Placement, points: np.ndarray) -> np.ndarray:
    """Map grid coordinates (..., 2), row and column, to native indices (..., 2) in storage order."""
    native = points * np.array(placement.step) + np.array(placement.start)
    return native[..., ::-1] if placement.transposed else native


def labels_to_scanner(placement: Placement, classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Bring class indices back to the voxels of the slice, each voxel to its largest class."""
    shares = [placement.to_scanner((classes == index).astype(np.float32)) for index in range(1, n_classes + 1)]
    background = np.float32(1) - np.sum(shares, axis=0, dtype=np.float32)
    return np.argmax([background, *shares], axis=0)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.sum(a & b) / (a.sum() + b.sum())


# Slices


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_slices_lie_along_superior_inferior(axes, signs):
    geometry = make_geometry(axes, signs, (12, 8, 30), (2, 1, 10), (15, -12, 20))
    assert slice_axis(geometry) == axes.index(2)
    assert slice_count(geometry) == 3
    assert slice_zooms(geometry) == pytest.approx([(2, 1, 10)[axis] for axis in axes if axis != 2])
    data = np.arange(6 * 8 * 3).reshape(geometry.shape)
    expected = data[tuple(1 if axis == 2 else slice(None) for axis in axes)]
    assert np.array_equal(take_slice(data, geometry, 1), expected)


def test_a_slice_is_a_view_for_writing():
    geometry = make_geometry((2, 0, 1), extent_mm=(12, 8, 30), zooms=(2, 2, 10))
    data = np.zeros(geometry.shape)
    take_slice(data, geometry, 2)[:] = 5
    assert data[2].min() == 5
    assert data[:2].max() == 0


@pytest.mark.parametrize("index", [-1, 3])
def test_refuses_a_slice_that_does_not_exist(index):
    geometry = make_geometry(extent_mm=(12, 8, 30), zooms=(2, 2, 10))
    with pytest.raises(InputError, match=f"slice {index} does not exist; give 0 to 2"):
        take_slice(np.zeros(geometry.shape), geometry, index)


# Orientation


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_anterior_right_lands_at_the_upper_left(axes, signs, oblique):
    angles = (11.0, -8.0, 17.0) if oblique else (0.0, 0.0, 0.0)
    geometry = make_geometry(axes, signs, (301, 181, 20), (1.7, 1.3, 10), angles)
    points = body_coordinates(geometry, angles)
    volume = disc(points, 20, -10, 70) + 2.0 * disc(points, 20 + 40, -10 + 30, 6)
    native = take_slice(volume, geometry, 1)
    placement = Grid(spacing_mm=1.5, rows=120, columns=200).place(geometry, native)
    image = placement.to_grid(native)
    marker = np.argwhere(image > 2).mean(axis=0)
    body = np.argwhere(image > 0.5).mean(axis=0)
    assert np.allclose(body, (59.5, 99.5), atol=1.5)
    assert np.allclose(marker - body, (-30 / 1.5, -40 / 1.5), atol=0.7)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_rows_run_to_posterior_and_columns_to_left(data):
    axes, signs = data.draw(st.sampled_from(ORIENTATIONS))
    angles = data.draw(st.tuples(*[st.floats(-20, 20)] * 3))
    zooms = data.draw(st.tuples(st.floats(0.4, 3), st.floats(0.4, 3), st.floats(3, 20)))
    geometry = make_geometry(axes, signs, (40, 40, 20), zooms, angles)
    grid = Grid(spacing_mm=1.1, rows=20, columns=30)
    placement = grid.place(geometry, take_slice(np.zeros(geometry.shape), geometry, 0))
    corners = np.insert(native_points(placement, np.array([[0.0, 0.0], [1, 0], [0, 1]])), slice_axis(geometry), 0, -1)
    origin, down, across = nib.affines.apply_affine(geometry.affine, corners)
    assert np.argmax(np.abs(down - origin)) == 1
    assert (down - origin)[1] < 0
    assert np.argmax(np.abs(across - origin)) == 0
    assert (across - origin)[0] < 0
    assert np.allclose(np.linalg.norm([down - origin, across - origin], axis=1), placement.spacing_mm)


def test_left_and_right_limbs_stay_on_their_sides():
    sides = {}
    for axes, signs in ORIENTATIONS:
        geometry = make_geometry(axes, signs, (380, 180, 20), (2, 2, 10))
        points = body_coordinates(geometry, (0, 0, 0))
        volume = disc(points, 90, 0, 60) * 1 + disc(points, -90, 0, 60) * 2
        native = take_slice(volume, geometry, 0).astype(np.uint8)
        placement = Grid(spacing_mm=2, rows=96, columns=192).place(geometry, native)
        classes = placement.labels_to_grid(native, 2)
        sides[axes, signs] = (np.unique(classes[:, :96]).tolist(), np.unique(classes[:, 96:]).tolist())
        assert np.array_equal(labels_to_scanner(placement, classes, 2), native)
    assert set(map(str, sides.values())) == {"([0, 1], [0, 2])"}


# There and back


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_results_have_the_shapes_of_both_sides(data):
    placement = random_placement(data, data.draw(st.sampled_from(Fit)))
    image = placement.to_grid(np.ones(placement.native_shape), background=1)
    back = placement.to_scanner(np.ones((3, *placement.grid_shape)), background=1)
    assert image.dtype == back.dtype == np.float32
    assert image.shape == placement.grid_shape
    assert back.shape == (3, *placement.native_shape)
    assert np.allclose(image, 1)
    assert np.allclose(back, 1)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_masks_return_bit_for_bit_at_equal_spacing(data):
    axes, signs = data.draw(st.sampled_from(ORIENTATIONS))
    angles = data.draw(st.tuples(*[st.floats(-20, 20)] * 3))
    rows, columns = data.draw(st.tuples(st.integers(5, 90), st.integers(5, 90)))
    spacing = data.draw(st.floats(0.4, 2))
    # Spacings in headers are rounded.
    zoom = spacing * data.draw(st.floats(1 - 9e-4, 1 + 9e-4))
    geometry = make_geometry(axes, signs, (columns * zoom, rows * zoom, 20), (zoom, zoom, 10), angles)
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    n_classes = data.draw(st.integers(1, 4))
    native = random.integers(0, n_classes + 1, take_slice(np.zeros(geometry.shape), geometry, 0).shape, dtype=np.uint8)
    grid = Grid(spacing_mm=spacing, rows=64, columns=51)
    placement = grid.place(geometry, native)
    inside = placement.to_scanner(np.ones(placement.grid_shape)) > 0
    assert inside.sum() > 0.5 * min(rows, 64) * min(columns, 51)
    classes = placement.labels_to_grid(native, n_classes)
    assert np.array_equal(labels_to_scanner(placement, classes, n_classes), native * inside)
    assert np.bincount(classes.ravel())[1:].sum() == np.count_nonzero(native * inside)


@pytest.mark.parametrize("limbs", [1, 2])
@pytest.mark.parametrize("fit", Fit)
@settings(deadline=None, max_examples=50)
@given(st.data())
def test_smooth_masks_return_nearly_at_other_spacings(fit, limbs, data):
    axes, signs = data.draw(st.sampled_from(ORIENTATIONS))
    zooms = data.draw(st.tuples(st.floats(0.5, 2), st.floats(0.5, 2), st.just(10.0)))
    angles = data.draw(st.tuples(*[st.floats(-20, 20)] * 3))
    geometry = make_geometry(axes, signs, (170.0 * limbs, 150, 10), zooms, angles)
    points = body_coordinates(geometry, angles)
    shift = data.draw(st.tuples(st.floats(-15, 15), st.floats(-15, 15)))
    centres = [shift[0] - 80, shift[0] + 80] if limbs == 2 else [shift[0]]
    volume = np.sum([index * disc(points, x, shift[1], 45) for index, x in enumerate(centres, 1)], axis=0)
    native = take_slice(volume, geometry, 0).astype(np.uint8)
    placement = Grid(fit=fit).place(geometry, native)
    back = labels_to_scanner(placement, placement.labels_to_grid(native, limbs), limbs)
    for index in range(1, limbs + 1):
        assert dice(back == index, native == index) > 0.95


def test_a_mask_file_lies_in_the_voxels_of_the_image_file(tmp_path):
    geometry = make_geometry((2, 1, 0), (1, -1, -1), (300, 150, 30), (1.1, 0.9, 10), (5, 10, -15))
    points = body_coordinates(geometry, (5, 10, -15))
    write_volume(tmp_path / "image.nii.gz", 300 * disc(points, 30, 20, 50), geometry, np.int16)
    image = read_volume(tmp_path / "image.nii.gz")
    mask = np.zeros(image.data.shape, dtype=np.uint8)
    for index in range(slice_count(image.geometry)):
        native = take_slice(image.data, image.geometry, index)
        placement = Grid().place(image.geometry, native)
        probabilities = placement.to_grid(native) / 300
        take_slice(mask, image.geometry, index)[:] = placement.to_scanner(probabilities) > 0.5
    write_volume(tmp_path / "mask.nii.gz", mask, image.geometry, np.uint8)
    written = read_volume(tmp_path / "mask.nii.gz")
    assert np.array_equal(written.geometry.affine, image.geometry.affine)
    assert dice(written.data == 1, image.data > 0) > 0.97


# Resampling


def test_a_ramp_keeps_its_values():
    geometry = make_geometry((0, 1, 2), (1, 1, 1), (120, 90, 10), (0.7, 1.9, 10))
    native = take_slice(body_coordinates(geometry, (0, 0, 0))[..., 0] + 0.0, geometry, 0)
    grid = Grid(spacing_mm=1.25, rows=32, columns=48)
    placement = grid.place(geometry, np.zeros(native.shape))
    image = placement.to_grid(native)
    assert np.allclose(image, -(np.arange(48) - 23.5) * 1.25, atol=1e-3)


def test_detail_finer_than_the_grid_is_averaged_not_aliased():
    geometry = make_geometry(extent_mm=(60, 60, 10), zooms=(0.3, 0.3, 10))
    stripes = np.indices((200, 200)).sum(axis=0) % 2 * 1.0
    placement = Grid(spacing_mm=1.25, rows=32, columns=32).place(geometry, stripes)
    assert np.abs(placement.to_grid(stripes) - 0.5).max() < 0.02


def test_beyond_the_slice_lies_the_background():
    geometry = make_geometry(extent_mm=(30, 30, 10), zooms=(1.5, 1.5, 10))
    native = np.full((20, 20), 7.0)
    image = Grid(spacing_mm=1, rows=40, columns=50).place(geometry, native).to_grid(native, background=-3)
    assert np.unique(image).tolist() == [-3, 7]
    assert np.count_nonzero(image == 7) == 30 * 30


def test_three_classes_meet_without_a_fourth_between_them():
    geometry = make_geometry(extent_mm=(60, 60, 10), zooms=(0.8, 0.8, 10))
    native = np.zeros((75, 75), dtype=np.uint8)
    native[10:40, 10:60], native[40:65, 10:60] = 3, 1
    classes = Grid(rows=60, columns=60).place(geometry, native).labels_to_grid(native, 3)
    assert set(np.unique(classes)) == {0, 1, 3}
    assert classes.dtype == np.uint8


@pytest.mark.parametrize("n_classes", [1, 2])
def test_areas_stay_the_same_on_the_whole(n_classes):
    ratios = []
    for zooms in itertools.product((2.0, 2.2, 2.5, 2.9), (2.1, 2.6, 3.0), (10.0,)):
        geometry = make_geometry(extent_mm=(200, 120, 10), zooms=zooms)
        points = body_coordinates(geometry, (0, 0, 0))
        native = take_slice(disc(points, -50, 0, 40) * 1 + disc(points, 50, 0, 40) * n_classes, geometry, 0)
        classes = Grid().place(geometry, native).labels_to_grid(native.astype(np.uint8), n_classes)
        areas = np.bincount(classes.ravel())[1:] * 1.25**2
        ratios.append(areas / (np.bincount(native.ravel())[1:] * zooms[0] * zooms[1]))
    assert np.allclose(np.mean(ratios, axis=0), 1, atol=0.007)


def test_stretch_fills_the_frame_with_the_whole_slice():
    geometry = make_geometry((0, 1, 2), (-1, -1, 1), (100, 80, 10), (0.5, 2, 10))
    native = np.zeros((200, 40))
    native[:100] = 1
    placement = Grid(rows=80, columns=50, fit=Fit.STRETCH).place(geometry, native)
    image = placement.to_grid(native, background=99)
    assert placement.spacing_mm == (1.0, 2.0)
    assert image[:, :24].min() == pytest.approx(1, abs=1e-3)
    assert image[:, 26:].max() == pytest.approx(0, abs=1e-3)


# The body


@pytest.mark.parametrize("limbs", [1, 2])
@settings(deadline=None, max_examples=30)
@given(st.data())
def test_the_body_is_found_under_noise_and_bias(limbs, data):
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    centre = np.array(data.draw(st.tuples(st.integers(90, 110), st.integers(150, 190))))
    noise = data.draw(st.floats(0, 25))
    row, column = np.indices((200, 340))
    image = np.zeros((200, 340))
    for offset in (-75, 75) if limbs == 2 else (0,):
        radius = np.hypot(row - centre[0], column - centre[1] - offset)
        image += np.select([radius < 48, radius < 60], [100, 300], 0)
    image *= np.exp(-((column - 340 * data.draw(st.floats(0.2, 0.8))) ** 2) / (2 * 250**2))
    image = np.abs(image + random.normal(0, noise, image.shape) + 1j * random.normal(0, noise, image.shape))
    geometry = make_geometry(extent_mm=(200, 340, 10), zooms=(1, 1, 10))
    placement = Grid(rows=160, columns=320, spacing_mm=1).place(geometry, image)
    middle = native_points(placement, np.array([79.5, 159.5]))
    assert np.abs(middle - centre).max() < 4
    assert body_mask(image).sum() == pytest.approx(limbs * np.pi * 60**2, rel=0.1)
    # The Rayleigh median of the air around the limbs.
    assert background_level(image) == pytest.approx(noise * np.sqrt(2 * np.log(2)), abs=1.5)


def test_the_middle_is_that_of_the_outline_of_unequal_limbs_without_spurs():
    row, column = np.indices((200, 300))
    limbs = (np.hypot(row - 90, column - 80) < 60) | (np.hypot(row - 100, column - 220) < 30)
    spur = (np.abs(row - 95) < 2) & (column > 220)
    placement = Grid(spacing_mm=1, rows=160, columns=320).place(
        make_geometry(extent_mm=(200, 300, 10), zooms=(1, 1, 10)), (limbs | spur) * 100.0
    )
    middle = native_points(placement, np.array([79.5, 159.5]))
    assert np.abs(middle - ((30 + 150) / 2, (20 + 250) / 2)).max() < 4


def test_dim_muscle_beside_bright_fat_is_body():
    row, column = np.indices((120, 120))
    limb = np.hypot(row - 60, column - 60) < 40
    image = np.where(limb, np.where(column > 85, 600.0, 100.0), 5.0)
    assert dice(body_mask(image), limb) > 0.95


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_without_a_body_the_middle_of_the_slice_is_the_centre(value):
    geometry = make_geometry(extent_mm=(31, 41, 10), zooms=(2, 2, 10))
    image = np.full(geometry.shape[:2], value)
    placement = Grid(spacing_mm=1.25, rows=21, columns=33).place(geometry, image)
    assert not body_mask(image).any()
    assert np.allclose(native_points(placement, np.array([10, 16])), (np.array(image.shape) - 1) / 2)
    assert background_level(image) == value


def test_a_body_that_fills_the_slice_leaves_the_minimum_as_background():
    image = np.full((40, 40), 9.0)
    image[18:22, 18:22] = 3
    assert body_mask(image).all()
    assert background_level(image) == 3


def test_specks_are_no_body():
    image = np.zeros((100, 100))
    image[30:70, 20:60] = 10
    image[5:9, 90:95] = 10
    body = body_mask(image)
    assert body[50, 40]
    assert not body[:15, 80:].any()


# What is refused


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"spacing_mm": 0.0}, "grid.spacing_mm=0.0"),
        ({"spacing_mm": float("nan")}, "grid.spacing_mm=nan"),
        ({"spacing_mm": float("inf")}, "grid.spacing_mm=inf"),
        ({"rows": 0}, "grid.rows=0"),
        ({"columns": 32.5}, "grid.columns=32.5"),
        ({"columns": True}, "grid.columns=True"),
        ({"fit": "squeeze"}, "grid.fit=squeeze is unknown; give centre or stretch"),
    ],
)
def test_refuses_a_grid(values, message):
    with pytest.raises(InputError, match=message):
        Grid(**values)


def test_configuration_round_trip_is_plain():
    grid = Grid(spacing_mm=2.0, rows=32, columns=48, fit=Fit.STRETCH)
    config = grid.to_config()
    assert config == {"spacing_mm": 2.0, "rows": 32, "columns": 48, "fit": "stretch"}
    assert {type(value) for value in config.values()} == {float, int, str}
    assert Grid(**config) == grid


def test_shapes_that_do_not_fit_are_refused():
    geometry = make_geometry(extent_mm=(30, 20, 10), zooms=(1, 1, 10))
    with pytest.raises(ValueError, match=r"reference must have shape \(30, 20\), got \(20, 30\)"):
        Grid().place(geometry, np.zeros((20, 30)))
    placement = Grid(rows=10, columns=12).place(geometry, np.zeros((30, 20)))
    with pytest.raises(ValueError, match="image must have shape"):
        placement.to_grid(np.zeros((20, 30)))
    with pytest.raises(ValueError, match="values must have shape"):
        placement.to_scanner(np.zeros((2, 12, 10)))


@pytest.mark.parametrize(
    "values",
    [{"spacing_mm": 1e9}, {"spacing_mm": 1e-9}, {"spacing_mm": "x"}, {"rows": 10**9}, {"columns": True}, {"fit": 3}],
)
def test_a_frame_that_no_image_has_is_refused(values):
    with pytest.raises(InputError, match=rf"grid\.{next(iter(values))}="):
        Grid(**values)
