"""Frames put together to the images of one acquisition; what is ambiguous is listed and refused."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from musclesense.dicom.frames import Frame
from musclesense.dicom.kinds import Kind
from musclesense.errors import ArgumentError, InputError, plain
from musclesense.messages import log

# Of the distance between slices; between images that lie alike, in mm and in directions; of TR and flip angle.
_UNEVEN, _APART_MM, _TURN, _ALIKE = 0.05, 0.1, 1e-3, 0.01


@dataclass(frozen=True, eq=False)
class Stack:
    """One 3-D image: its slices, in the order in which they lie."""

    kind: Kind
    echo_ms: float | None
    frames: Sequence[Frame]

    @property
    def first(self) -> Frame:
        """Its first slice."""
        return self.frames[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows and slices."""
        return (*self.first.size, len(self.frames))

    @property
    def is_spin_echo(self) -> bool:
        """Whether its echoes are spin echoes."""
        said = self.first.header.get("EchoPulseSequence") or self.first.header.get("ScanningSequence") or ""
        words = {said} if isinstance(said, str) else {*said}
        return bool(words & {"SPIN", "SE"}) and "GR" not in words

    def __str__(self) -> str:
        """Say what it is, for messages: no description, which may name the patient."""
        echo = f" at {self.echo_ms:g} ms" if self.echo_ms is not None else ""
        return f"series {_shown(self.first.series)}, {self.kind.words}{echo}"

    def problem(self) -> str | None:
        """Say why its slices make no image, or None where they do."""
        if any(frame.kinds != {self.kind} for frame in self.frames):
            return f"its tags do not tell what it shows ({', '.join(sorted(kind.words for kind in self.first.kinds))})"
        planes = np.array([frame.plane for frame in self.frames])
        if len({frame.size for frame in self.frames}) > 1 or np.ptp(planes, 0).max() > _TURN:
            return "holds slices of several sizes or directions"
        places = np.array([frame.position for frame in self.frames])
        steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
        if steps.size and steps.min() <= _UNEVEN * steps.max():
            return "several slices lie at one position: a repeated scan, or images that their tags do not tell apart"
        even = np.linspace(places[0], places[-1], len(places))
        if steps.size and np.abs(places - even).max() > _UNEVEN * steps.min():
            return f"a slice is missing: its {len(places)} slices lie {steps.min():g} to {steps.max():g} mm apart"
        return None

    def goes_with(self, other: "Stack") -> bool:
        """Tell whether both are of one acquisition."""
        ours, theirs = self.first, other.first
        if self.shape != other.shape or not np.allclose(ours.plane, theirs.plane, atol=_TURN):
            return False
        ends = zip((ours, self.frames[-1]), (theirs, other.frames[-1]), strict=True)
        lie_alike = all(np.allclose(one.position, another.position, atol=_APART_MM) for one, another in ends)
        # Of anonymised images, each slice may have a frame of reference of its own.
        references = [{frame.header.get("FrameOfReferenceUID") for frame in stack.frames} for stack in (self, other)]
        one_place = max(map(len, references)) > 1 or references[0] == references[1]
        return lie_alike and one_place and (not (self.kind.is_part and other.kind.is_part) or self._measured_as(other))

    def _measured_as(self, other: "Stack") -> bool:
        """Tell whether two parts of echoes may be of one sequence."""
        names = ("RepetitionTime", "FlipAngle")
        figures = [(self.first.figure(name), other.first.figure(name)) for name in names]
        alike = all(a is None or b is None or abs(a - b) <= _ALIKE * abs(a) for a, b in figures)
        return alike and (self.echo_ms is None) == (other.echo_ms is None) and self.is_spin_echo == other.is_spin_echo


class _Key(NamedTuple):
    series: str
    kinds: tuple[Kind, ...]
    echo_ms: float


def stacks_of(frames: Sequence[Frame], path: Path, series: Sequence[int] = ()) -> list[Stack]:
    """Put frames together to the images of one acquisition, in the order of kinds and echo times.

    Args:
        frames: Of a folder.
        path: The folder, for messages.
        series: Numbers of the series to take; all by default.

    Raises:
        InputError: They are of several acquisitions, or do not make whole images; one line each.
    """
    taken = [frame for frame in frames if not series or frame.series in series]
    for number in series:
        if all(frame.series != number for frame in taken):
            there = ", ".join(sorted({_shown(frame.series) for frame in frames}))
            said = f"{{series}}: not in {plain(str(path))}, which has series {there}; give one of these"
            raise ArgumentError(said, series=str(number))
    scans = [frame for frame in taken if frame.kinds != {Kind.NO_SCAN}]
    if left_out := len(taken) - len(scans):
        log.info(f"{path}: {left_out} slices of maps, localizers or projections are left out")
    if not scans:
        raise InputError(f"{path}: holds maps, localizers or projections alone; export the images of the scan")
    if len({frame.header.get("PatientID") for frame in scans}) > 1:
        raise InputError(f"{path}: holds images of several persons; give a folder of one examination of one person")
    stacks = sorted(grouped(scans), key=lambda stack: ([*Kind].index(stack.kind), stack.echo_ms or 0.0))
    _refuse_ambiguous(stacks, path)
    return stacks


def grouped(frames: Sequence[Frame]) -> Iterator[Stack]:
    """Put frames of a series, a kind and an echo time together."""
    groups: dict[_Key, list[Frame]] = defaultdict(list)
    for frame in frames:
        uid = str(frame.header.get("SeriesInstanceUID", ""))
        groups[_Key(uid, tuple(sorted(frame.kinds)), frame.echo_ms or 0.0)].append(frame)
    for key, group in groups.items():
        normal = np.cross(group[0].plane[:3], group[0].plane[3:6])
        ordered = sorted(group, key=lambda frame: float(normal @ frame.position))
        yield Stack(key.kinds[0], group[0].echo_ms, ordered)


def _refuse_ambiguous(stacks: Sequence[Stack], path: Path) -> None:
    """Refuse images that are not whole, that are there twice, or that do not go together."""
    wrong = [f"{path}: {stack}: {problem}" for stack in stacks if (problem := stack.problem())]
    echoes = [(stack.kind, stack.echo_ms if stack.kind.is_part else None) for stack in stacks]
    if len({*echoes}) < len(stacks) or not all(one.goes_with(other) for one, other in combinations(stacks, 2)):
        wrong += [f"{path}: holds images of several scans, which do not go together:", *_listed(stacks, path)]
    if wrong:
        numbers = sorted({stack.first.series for stack in stacks if stack.first.series is not None})
        choice = f"choose the series of one scan, such as --series {numbers[0]}, or " if len(numbers) > 1 else ""
        raise InputError(*wrong, f"{path}: {choice}export the scan again, whole, into a folder of its own")


def _listed(stacks: Sequence[Stack], path: Path) -> Iterator[str]:
    for stack in stacks:
        yield f"{path}: {stack}: {stack.shape[2]} slices of {stack.shape[0]}x{stack.shape[1]}"


def _shown(series: int | None) -> str:
    return "without number" if series is None else str(series)
