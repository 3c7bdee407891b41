"""What each verb does that is of scans: a few lines over public functions, which are imported when it is asked for.

A verb's options are its function's arguments, and the docstring is its help.
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from musclesense.errors import InputError
from musclesense.messages import log
from musclesense.vocabulary import Echo, Region


def import_dicom(folder: Path, out: Path, series: list[int] | None) -> None:
    """Make images of a scanner's DICOM folder."""
    from musclesense.dicom.load import import_dicom

    command = import_dicom(folder, out, series or ())
    print(out)
    log.info(f"next: {command}")


def find_scans(folder: Path, out: Path, region: str | None) -> None:
    """Make a cohort table of the scans in a tree of folders, and show it."""
    from musclesense.intake import tree

    print(tree.as_text(tree.find_scans(folder, out, Region(region) if region else None)), end="")
    log.info(f"next: look at {out}, then musclesense segment --cohort {shlex.quote(str(out))} --out DIR")


def separate(out: Path, *, fat_shift: Sequence[float], **asked: Any) -> None:
    """Separate fat and water by three-point Dixon."""
    from musclesense.dixon.echoes import STORED
    from musclesense.dixon.fat import FatModel
    from musclesense.dixon.scan import require_free_images, separate_scan

    require_free_images(out)
    echoes = {str(echo): _image(asked.pop(echo)) for echo in Echo}
    stored = {name: asked.pop(name) for name in STORED}
    model = FatModel.described(fat_shift=(fat_shift[0], fat_shift[1]), **asked)
    parts = separate_scan(echoes, model=model, **stored)
    parts.save(out)
    log.info(f"phases: {parts.phase_unit}")


def segment(
    out: Path,
    *,
    cohort: Path | None,
    jobs: int,
    part: str | None,
    path: Path | None,
    model: str | None,
    allow_class: list[str],
    effort: str,
    region: str | None,
    limbs: str,
    device: str,
    out_of_fold: bool,
    anonymous: bool,
    dicom_seg: bool,
    erode: float | None,
    slices: str | None,
    with_cut: bool,
    **asked: Any,
) -> None:
    """Segment a scan, or all of a table: mask, measurements, a page to judge them by."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # what NumPy multiplies is small; its threads would wait busily
    from musclesense.intake import dicom_seg as segmentation
    from musclesense.intake.found import read_given
    from musclesense.segmentation import segmenter
    from musclesense.segmentation.measured import MASK, SEGMENTATION, files_of, require_place
    from musclesense.segmentation.measuring import Measuring
    from musclesense.storage.paths import require_writable

    measuring = Measuring.asked(erode, slices, with_cut)
    require_writable(out)
    if dicom_seg:
        segmentation.require_dicom_seg(anonymous)
    if cohort is not None:
        given = {"SCAN": path, "--region": region, "--limbs": limbs if limbs != "auto" else None}
        _refuse_beside_cohort(given | {f"--{name.replace('_', '-')}": value for name, value in asked.items()})
        how = {"model": model, "device": device, "allow_class": tuple(allow_class), "out_of_fold": out_of_fold}
        how["dicom_seg"] = dicom_seg
        _segment_table(
            cohort, out, **how, effort=effort, anonymous=anonymous, measuring=measuring, jobs=jobs, part=part
        )
        return
    if part is not None:
        raise InputError(f"--part {part}: goes with --cohort; leave it out")
    scan = read_given(path, **{name: _image(value) for name, value in asked.items()})
    if dicom_seg:
        segmentation.require_dicom_seg(anonymous, scan)
    require_place(out, ((SEGMENTATION,) if dicom_seg else ()) + files_of(scan))
    measuring.require_slices(scan.geometry)
    networks = None if model is None else segmenter.Segmenter.load(model, device, allow_class, effort)
    made = segmenter.segment(
        scan,
        model=networks,
        region=region,
        limbs=limbs,
        device=device,
        effort=effort,
        out_of_fold=out_of_fold,
        measuring=measuring,
        beside=segmentation.dicom_seg if dicom_seg else None,
    )
    saved = made.save(out, anonymous=anonymous) / MASK
    if scan.phase_unit is not None:
        log.info(f"phases: {scan.phase_unit}")
    print(saved)


def _refuse_beside_cohort(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if value not in (None, False, "auto"):
            raise InputError(f"{name}: does not go with --cohort, whose table says it of each scan; leave it out")


def _segment_table(cohort: Path, out: Path, **how: Any) -> None:
    """Segment all scans of a table; exit code 1 where one has no result."""
    from musclesense.intake.batch import TABLE, How, part_of, segment_table

    part = part_of(how.pop("part"))
    problems = segment_table(cohort, out, How(**how, part=part))
    for problem in problems:
        log.error(f"{cohort}, {problem}")
    if part is None:
        print(out / TABLE)
    else:
        log.info(f"{out}: part {part[0]} of {part[1]}; after all parts, the same command without --part writes tables")
    if problems:
        log.error(f"scans without a result: {len(problems)}; the same command does these alone")
        sys.exit(1)


def measure(
    out: Path,
    *,
    mask: Path,
    labels: Path | None,
    limbs: str,
    automatic: Path | None,
    anonymous: bool,
    erode: float | None,
    slices: str | None,
    with_cut: bool,
    **asked: Any,
) -> None:
    """Measure a mask that was corrected by hand, and say what was changed."""
    from musclesense.cohort.images import read_labels
    from musclesense.intake.found import read_given
    from musclesense.segmentation import corrected
    from musclesense.segmentation.measured import CHANGES, TABLE, files_of, require_place
    from musclesense.segmentation.measuring import Measuring

    measuring = Measuring.asked(erode, slices, with_cut)
    known = None if labels is None else read_labels(labels)[0]
    scan = read_given(asked.pop("path"), **asked)
    require_place(out, (CHANGES, *files_of(scan)), corrected=True)
    made = corrected.measure(mask, scan, labels=known, limbs=limbs, automatic=automatic, measuring=measuring)
    print(made.save(out, anonymous=anonymous) / TABLE)


def serve(data: Path | None, **asked: Any) -> None:
    """Serve a page: upload a scan, get its mask and numbers, correct it; and the same by HTTP."""
    _require_server("serve")
    from musclesense.serve import main
    from musclesense.serve.settings import Settings

    asked["names"] = tuple(name.lower() for name in asked["names"])
    main.serve(Settings.asked(data=data or main.default_data(), **asked))


def site(out: Path, models: list[str], **asked: Any) -> None:
    """Write a page that segments in the browser, for any web server that gives out files."""
    from musclesense.site.writing import write_site

    print(write_site(out, models, **asked))


def review(folder: Path, **asked: Any) -> None:
    """Serve a page to look through masks of segment or of a study: judge, correct, take the list along."""
    _require_server("review")
    from musclesense.serve.review import main
    from musclesense.serve.settings import Settings

    asked["names"] = tuple(name.lower() for name in asked["names"])
    main.review(Settings.asked(data=folder, **asked))


def _require_server(verb: str) -> None:
    from importlib.util import find_spec

    if not all(map(find_spec, ("fastapi", "uvicorn", "python_multipart"))):
        raise InputError(f"{verb}: its packages are not installed; pip install 'musclesense[serve]'")


def models(name: str | None) -> None:
    """List the networks that come with the package, or show the card of one."""
    from musclesense.networks.shipped import card_of, listed

    print(listed() if name is None else card_of(name), end="")


def _image(given: Any) -> Any:
    """Give one image, or a magnitude with its phase."""
    if isinstance(given, list) and given and isinstance(given[0], Path):
        return given[0] if len(given) == 1 else tuple(given)
    return given
