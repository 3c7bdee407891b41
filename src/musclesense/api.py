"""What ``import musclesense`` gives: each function a few lines over the rooms, which are imported when it is called.

Paths are ``str`` or ``Path``. Images are paths, nibabel images, or pairs of an array and its affine.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from musclesense.vocabulary import Limbs, Region

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from musclesense.cohort.table import CohortTable
    from musclesense.dixon.echoes import Pair
    from musclesense.dixon.scan import SeparatedScan
    from musclesense.evaluation.compare import Comparison
    from musclesense.imaging.reader import ImageLike
    from musclesense.segmentation.corrected import CorrectedMask
    from musclesense.segmentation.result import Segmentation
    from musclesense.segmentation.scan import Scan
    from musclesense.segmentation.segmenter import Segmenter
    from musclesense.studies.study import Study

PathLike = str | os.PathLike[str]


def read_cohort(table: PathLike) -> "CohortTable":
    """Read a cohort table: one row for each acquisition.

    Args:
        table: CSV file; its columns are described in the reference, "Cohort table".

    Returns:
        The table. ``.frame`` is a pandas table, ``.acquisitions`` are typed rows.

    Raises:
        InputError: The file is missing or rows cannot be understood; all of them are named.

    >>> import musclesense as ms
    >>> cohort = ms.read_cohort("phantom/cohort.csv")
    >>> cohort.frame.groupby("region").size().to_dict()
    {'calf': 12, 'thigh': 12}
    """
    from musclesense.cohort.table import read_table

    return read_table(Path(table))


def make_phantom(
    folder: PathLike,
    *,
    preset: str = "demo",
    seed: int = 1,
    workers: int = 1,
    slices: Literal["all", "mid"] = "all",
    label_all: bool = False,
) -> "CohortTable":
    """Make a cohort of simulated scans with known masks and fat fractions.

    Args:
        folder: Folder to make; it must not exist, or be empty.
        preset: ``smoke`` (seconds), ``demo``, ``paper``, ``secondary``, ``any_scanner``,
            ``any_contrast`` or ``any_dixon``.
        seed: The same seed gives the same bytes.
        workers: Processes. In a script, more than one needs ``if __name__ == "__main__":`` around the script's code.
        slices: ``all``, or ``mid`` for the middle slice of each acquisition alone.
        label_all: Let every slice count as labelled, not the middle one alone.

    Returns:
        The cohort table of the new folder.

    Raises:
        InputError: Unknown preset, negative seed, or the folder is in use.

    >>> import musclesense as ms
    >>> cohort = ms.make_phantom("another", preset="smoke")
    >>> cohort.path.as_posix()
    'another/cohort.csv'
    """
    from musclesense.phantom.cohorts.generate import generate

    made = generate(Path(folder), preset=preset, seed=seed, workers=workers, slices=slices, label_all=label_all)
    return read_cohort(made)


def load_model(
    model: PathLike, *, device: str = "auto", allow_class: "Collection[str]" = (), effort: str = "default"
) -> "Segmenter":
    """Load trained networks once, to segment several scans.

    Args:
        model: The name of a network that comes with the package (``musclesense models`` lists them), a study's folder
            (all its finished networks as an ensemble), a run's folder, a checkpoint or a bundle. A text that is such a
            name is that network, whatever lies in the working folder; ``./NAME`` and a ``Path`` are files.
        device: ``auto`` (a GPU where there is one), or a device of PyTorch such as ``cpu`` or ``cuda:1``.
        allow_class: Networks of your own that the files may name, such as ``["mypackage.MyNet"]``. Their code is run.
        effort: How often the networks look at a slice: ``fast``, once; ``default``, as they were trained to be used.

    Raises:
        InputError: Nothing usable is there, or the networks differ in channels, labels or grid.

    >>> import musclesense as ms
    >>> model = ms.load_model("runs/before", device="cpu")
    >>> model.spec.channels
    ('fat', 'water', 'te345', 'te575')
    """
    from musclesense.segmentation.segmenter import Segmenter

    return Segmenter.load(model, device, allow_class, effort)


def read_scan(
    path: PathLike | None = None,
    *,
    echo_times: "Sequence[float] | None" = None,
    series: "Sequence[int] | None" = None,
    phase_unit: str = "auto",
    phase_turn: float | None = None,
    real_imaginary: bool = False,
    **images: "ImageLike | Pair | None",
) -> "Scan":
    """Read the images of one acquisition: fat and water, three echoes to be separated, or one image of any contrast.

    Args:
        path: An image, a folder of the images of one scan, or a folder of DICOM. Images are known by their names, by
            the json files beside them, or by their tags ([how](../../how-to/choose-images.md)); what is ambiguous is
            refused. Instead of ``images``.
        echo_times: Of the echoes of ``path`` in ms, by their numbers, where nothing beside them tells their times.
        series: Numbers of the series to take, where ``path`` is DICOM of several scans.
        phase_unit: How phases are stored: ``auto``, ``radians``, ``milliradians``, ``degrees``, ``tenth-degrees``,
            ``12bit`` or ``signed-12bit``.
        phase_turn: What one turn is in stored phases, for any other unit.
        real_imaginary: Whether pairs are real and imaginary images instead of magnitude and phase.
        images: Image by channel, of `Channel`. Beside ``fat``: ``water``, which fat fractions need, and the magnitudes
            ``te345``, ``te460`` and ``te575``. ``image``: one of any contrast, for a model that takes it. Without
            either: the three echoes, each a pair of magnitude and phase.

    Returns:
        The scan: ``.channels`` are arrays, ``.fat_fraction`` is in percent, ``.geometry`` says where the voxels lie.

    Raises:
        InputError: Images are missing, cannot be read, or are not of one acquisition.

    >>> import musclesense as ms
    >>> folder = "phantom/sub-004/ses-1/thigh"
    >>> scan = ms.read_scan(fat=f"{folder}/fat.nii.gz", water=f"{folder}/water.nii.gz")
    >>> sorted(scan.channels), scan.geometry.shape
    (['fat', 'water'], (160, 80, 1))
    """
    from musclesense.intake.found import read_given

    place = None if path is None else Path(path)
    stored = {"phase_unit": phase_unit, "phase_turn": phase_turn, "real_imaginary": real_imaginary}
    return read_given(place, echo_times=echo_times, series=series, **stored, **images)


def segment(
    scan: "Scan | ImageLike",
    *,
    model: "PathLike | Segmenter | None" = None,
    region: str | Region | None = None,
    limbs: str | Limbs = "auto",
    device: str = "auto",
    effort: str = "default",
    out_of_fold: bool = False,
    erode: float | None = None,
    slices: "str | tuple[int, int] | None" = None,
    with_cut: bool = False,
    dicom_seg: bool = False,
) -> "Segmentation":
    """Segment the muscle of a scan.

    Args:
        scan: From `read_scan`, or a path that it takes; or an image in memory, which is taken for the fat image.
        model: From `load_model`, or what it takes. None: of the networks that come with the package the one that takes
            the images, of several the one that takes most.
        region: ``calf`` or ``thigh``. None: what is found in the images.
        limbs: ``both`` side by side; or the one that the scan shows: ``left`` or ``right`` of the subject, or ``one``
            where the side is not known; or ``auto``: what is found in the images.
        device: Where the networks compute, unless ``model`` is loaded already.
        effort: How often they look at a slice, likewise.
        out_of_fold: Of a study, use the networks alone that have not seen the subject; the scan is one of its cohort.
        erode: Measure once more without so many mm along the border of each region.
        slices: First and last slice that totals count, from 0: ``(2, 8)`` or ``"2:8"``. None: all.
        with_cut: Let totals count what the edge of the image cuts.
        dicom_seg: Of a scan that is DICOM: let ``.save`` write ``mask.dcm``, too, which names the patient.

    Returns:
        The result: ``.mask`` is an array in the voxels of the scan, ``.table`` a pandas table of areas, volumes and fat
        fractions by slice and limb, ``.figure()`` a picture to judge the mask by, ``.save(folder)`` writes them all.

    Raises:
        InputError: The model cannot be used for this scan, or no ``mask.dcm`` can be made of it.

    >>> import musclesense as ms
    >>> row = ms.read_cohort("phantom/cohort.csv").frame.iloc[0]
    >>> scan = ms.read_scan(fat=row.fat, water=row.water, te345=row.te345, te575=row.te575)
    >>> result = ms.segment(scan, model="runs/before", region=row.region)
    >>> result.mask.shape == scan.geometry.shape
    True
    >>> list(result.table.columns)[:6]
    ['slice', 'limb', 'label', 'voxels', 'volume_ml', 'fat_fraction_percent']
    >>> result.save("result").as_posix()
    'result'
    """
    from musclesense.intake import dicom_seg as seg
    from musclesense.segmentation.measuring import Measuring
    from musclesense.segmentation.segmenter import segment

    measuring, shown = Measuring.asked(erode, slices, with_cut), _scan_of(scan)
    if dicom_seg:
        seg.require_dicom_seg(anonymous=False, scan=shown)
    return segment(
        shown,
        model=model,
        region=region,
        limbs=limbs,
        device=device,
        effort=effort,
        out_of_fold=out_of_fold,
        measuring=measuring,
        beside=seg.dicom_seg if dicom_seg else None,
    )


def _scan_of(scan: "Scan | ImageLike") -> "Scan":
    """Read a scan that is given as a path or as an image in memory."""
    from musclesense.segmentation.scan import Scan

    if isinstance(scan, str | os.PathLike):
        return read_scan(scan)
    return scan if isinstance(scan, Scan) else read_scan(fat=scan)


def measure(
    mask: "ImageLike",
    scan: "Scan | ImageLike",
    *,
    labels: "Mapping[str, Sequence[int]] | None" = None,
    limbs: str | Limbs = "auto",
    automatic: PathLike | None = None,
    erode: float | None = None,
    slices: "str | tuple[int, int] | None" = None,
    with_cut: bool = False,
) -> "CorrectedMask":
    """Measure a mask that was corrected, in ITK-SNAP or 3D Slicer for example, and say what was changed.

    The mask may be of any type of number, have a scale factor, its axes in another order, an affine that is rounded by
    up to a tenth of a voxel, or hold a part of the image alone. It is measured in the scan's own voxels.

    Args:
        mask: Whole numbers, 0 is background; NIfTI or NRRD.
        scan: As of `segment`.
        labels: Values of each label, such as ``{"vasti": [3, 4]}``. None: those of the automatic mask; without one,
            all of the mask is muscle, or each value a label of its own where there are several.
        limbs: As of `segment`; ``auto``: those of the automatic mask, or what is found in the images.
        automatic: Folder with the results of `segment` that the mask was made from. None: the mask's own folder, where
            there are such results.
        erode: As of `segment`.
        slices: As of `segment`.
        with_cut: As of `segment`.

    Returns:
        The result: ``.table`` as that of a segmentation, ``.changes`` what differs from the automatic mask or None,
        ``.save(folder)`` writes all.

    Raises:
        InputError: The mask cannot be used, or lies elsewhere than the scan.

    >>> import musclesense as ms
    >>> folder = "phantom/sub-004/ses-1/thigh"
    >>> scan = ms.read_scan(fat=f"{folder}/fat.nii.gz", water=f"{folder}/water.nii.gz")
    >>> measured = ms.measure(f"{folder}/mask.nii.gz", scan)
    >>> measured.table[measured.table.slice == "all"].limb.tolist()
    ['right', 'left']
    """
    from musclesense.imaging.labels import LabelSet
    from musclesense.segmentation import corrected
    from musclesense.segmentation.measuring import Measuring

    measuring = Measuring.asked(erode, slices, with_cut)
    return corrected.measure(
        mask,
        _scan_of(scan),
        labels=None if labels is None else LabelSet.from_config(labels),
        limbs=limbs,
        automatic=None if automatic is None else Path(automatic),
        measuring=measuring,
    )


def separate(
    te345: "Pair",
    te460: "Pair",
    te575: "Pair",
    *,
    phase_unit: str = "auto",
    phase_turn: float | None = None,
    real_imaginary: bool = False,
    fat_peaks: int = 1,
    larmor_mhz: float | None = None,
    flip_angle: float | None = None,
    tr: float | None = None,
    fat_shift: tuple[float, float] = (0.0, 0.0),
) -> "SeparatedScan":
    """Separate fat and water by three-point Dixon.

    Args:
        te345: Magnitude and phase at TE 3.45 ms.
        te460: Magnitude and phase at TE 4.60 ms.
        te575: Magnitude and phase at TE 5.75 ms.
        phase_unit: How phases are stored: ``auto``, ``radians``, ``milliradians``, ``degrees``, ``tenth-degrees``,
            ``12bit`` or ``signed-12bit``.
        phase_turn: What one turn is in stored phases, for any other unit.
        real_imaginary: Whether pairs are real and imaginary images instead of magnitude and phase.
        fat_peaks: Peaks of the fat spectrum: 1 as in the paper, or 6.
        larmor_mhz: The scanner's frequency, for 6 peaks.
        flip_angle: In degrees, with ``tr``: take T1 weighting off the fat image.
        tr: Repetition time in milliseconds.
        fat_shift: Chemical shift of fat in voxels, along the two axes of a slice; fat is moved back by it.

    Returns:
        ``.fat``, ``.water`` and ``.fat_fraction`` (percent) are arrays; ``.save(folder)`` writes them.

    Raises:
        InputError: An image cannot be used, or an option goes with another.

    >>> import musclesense as ms
    >>> folder = "phantom/sub-004/ses-1/thigh"
    >>> pairs = {e: (f"{folder}/{e}_magnitude.nii.gz", f"{folder}/{e}_phase.nii.gz") for e in ms.Echo}
    >>> parts = ms.separate(**pairs)
    >>> float(parts.fat_fraction.min()) >= 0, float(parts.fat_fraction.max()) <= 100
    (True, True)
    """
    from musclesense.dixon.fat import FatModel
    from musclesense.dixon.scan import separate_scan

    model = FatModel.described(
        fat_peaks=fat_peaks, larmor_mhz=larmor_mhz, flip_angle=flip_angle, tr=tr, fat_shift=fat_shift
    )
    stored = {"phase_unit": phase_unit, "phase_turn": phase_turn, "real_imaginary": real_imaginary}
    return separate_scan({"te345": te345, "te460": te460, "te575": te575}, model=model, **stored)


def read_study(folder: PathLike) -> "Study":
    """Read the scores and learning curves of a study.

    Args:
        folder: A folder below ``runs/``.

    Returns:
        The study: ``.frame`` is a pandas table with a row for each test case and label, ``.curves`` one for each
        epoch, ``.runs`` are its runs.

    Raises:
        InputError: The folder is no study, or one of its files cannot be understood.

    >>> import musclesense as ms
    >>> study = ms.read_study("runs/before")
    >>> sorted(study.frame["region"].unique())
    ['calf', 'thigh']
    >>> bool(study.frame["dice"].between(0, 1).all())
    True
    """
    from musclesense.studies.reading import read_study

    return read_study(Path(folder))


def compare(*studies: PathLike, margin: float | None = None) -> "Comparison":
    """Compare studies of the same folds in pairs: each with the first, acquisition by acquisition.

    Args:
        studies: Folders below ``runs/``, the reference first.
        margin: Of Dice: say whether a study is equivalent to the reference within it.

    Returns:
        The comparison: ``.frame`` is a pandas table with a row for each study, region, label and measure, ``print``
        shows it, ``.figure()`` draws the differences of Dice, ``.save(folder)`` writes CSV, LaTeX and pictures.

    Raises:
        InputError: One is no study, or they have other folds, other test cases or other true masks.

    >>> import musclesense as ms
    >>> comparison = ms.compare("runs/before", "runs/before")
    >>> comparison.frame["difference"].dropna().unique().tolist()
    [0.0]
    """
    from musclesense.evaluation.compare import compare

    return compare([Path(study) for study in studies], margin=margin)
