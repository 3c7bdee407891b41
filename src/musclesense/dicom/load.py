"""From a DICOM folder to images that the commands of this project take."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from musclesense.dicom.convert import volumes_of
from musclesense.dicom.frames import read_frames
from musclesense.dicom.kinds import Kind, made_by
from musclesense.dicom.stacks import Stack, stacks_of
from musclesense.imaging.nifti import write_volume
from musclesense.messages import log
from musclesense.storage.atomic import atomic_folder
from musclesense.storage.paths import require_free
from musclesense.storage.records import write_json

HEADER = "scan.json"
_FORMAT = 1
_FIGURES = {
    "field_strength_tesla": ("MagneticFieldStrength",),
    "larmor_mhz": ("TransmitterFrequency", "ImagingFrequency"),
    "repetition_time_ms": ("RepetitionTime",),
    "flip_angle_degrees": ("FlipAngle",),
}


def import_dicom(folder: Path, out: Path, series: Sequence[int] = ()) -> str:
    """Write the images of one scan as NIfTI, and ``scan.json`` with its echo times and the like.

    Args:
        folder: Of DICOM files, or one file of many frames.
        out: Folder to make.
        series: Numbers of the series to take; all by default.

    Returns:
        The command that comes next.

    Raises:
        InputError: There is no image of a scan, or it is ambiguous which images are one; nothing is written then.
    """
    require_free(out, or_empty=True)
    found = read_frames(folder)
    if found.others:
        log.info(f"{folder}: {found.others} files are no MR images; left out")
    stacks = _of_use(stacks_of(found.frames, folder, series))
    names = dict(zip(names_of(stacks), stacks, strict=True))
    with atomic_folder(out) as draft:
        volumes = volumes_of(stacks, draft / "work")
        for name, volume in zip(names, volumes, strict=True):
            write_volume(draft / name, volume.data, volume.geometry, volume.data.dtype)
        write_json(draft / HEADER, header_of(names))
    return f"musclesense segment {shlex.quote(str(out))} --out DIR"


def _of_use(stacks: Sequence[Stack]) -> list[Stack]:
    """Leave out the phases of GE, where real and imaginary images are there, which are what is measured."""
    phases = {stack for stack in stacks if stack.kind is Kind.PHASE and made_by(stack.first.header, "GE")}
    times = {kind: {stack.echo_ms for stack in stacks if stack.kind is kind} for kind in Kind}
    left_out = {stack for stack in phases if stack.echo_ms in times[Kind.REAL] & times[Kind.IMAGINARY]}
    if left_out:
        log.info("phases of GE are left out, since real and imaginary images are there")
    if phases - left_out:
        log.warning("the phase that GE stores need not be the angle: export real and imaginary images, if you can")
    return [stack for stack in stacks if stack not in left_out]


def names_of(stacks: Sequence[Stack]) -> Iterator[str]:
    """Name images: echoes by their place among the echo times, as BIDS does; one image of no echoes ``scan_image``."""
    parts = [stack for stack in stacks if stack.kind.is_part]
    times = sorted({stack.echo_ms or 0.0 for stack in parts})
    for stack in stacks:
        if stack not in parts:
            yield f"scan_{stack.kind}.nii.gz"
        elif stack.kind is Kind.MAGNITUDE and len(stacks) == 1:
            yield "scan_image.nii.gz"
        else:
            echo = str(times.index(stack.echo_ms or 0.0) + 1).zfill(len(str(len(times))))
            yield f"scan_echo-{echo}_part-{stack.kind}_{'MESE' if stack.is_spin_echo else 'MEGRE'}.nii.gz"


def header_of(names: dict[str, Stack]) -> dict[str, Any]:
    """Give what ``scan.json`` holds: no name, number or date of a patient."""
    first = next(iter(names.values())).first
    figures = {name: figure for name, tags in _FIGURES.items() if (figure := first.figure(*tags)) is not None}
    times = {stack.echo_ms for stack in names.values() if stack.kind.is_part and stack.echo_ms is not None}
    images = {
        name: {"kind": stack.kind.words, "echo_time_ms": stack.echo_ms, "series": stack.first.series}
        for name, stack in names.items()
    }
    return {"format": _FORMAT, "echo_times_ms": sorted(times), **figures, "images": images}
