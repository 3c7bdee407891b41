"""Folders of many subjects, named as people name them: which images are whose, and what they show."""

import csv
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

from fuzz.case import Case, Draw, Verdict
from fuzz.seeds import Seeds

_WORDS = {
    "fat": ("fat", "Fat", "FAT", "dixon_fat", "Dixon-Fat", "fat_only", "vibe_fat", "fatimg"),
    "water": ("water", "Water", "WATER", "dixon_water", "Dixon-Water", "water_only", "vibe_water", "waterimg"),
    "inphase": ("inphase", "in_phase", "InPhase", "IN-PHASE", "dixon_inphase"),
    "outphase": ("outphase", "out_of_phase", "OutOfPhase", "opp_phase", "opposed_phase"),
    "mask": ("mask", "dseg", "fat_mask", "roi", "manual", "fat_fraction", "pdff", "R2star", "desc-muscle_dseg"),
    "te345": ("Dixon345", "dixon_345", "te345", "TE_345", "te3.45", "te345_magnitude", "te3p45_mag"),
    "te460": ("Dixon460", "dixon_460", "te460", "TE_460", "te4.60", "te460_magnitude", "te4p60_mag"),
    "te575": ("Dixon575", "dixon_575", "te575", "TE_575", "te5.75", "te575_magnitude", "te5p75_mag"),
    "one": ("t1", "T1w", "gradient_echo", "pd_fatsat", "tse", "scan"),
}
_SHORT = {"fat": "F", "water": "W", "inphase": "in", "outphase": "opp"}
_SUBJECTS = ("S001", "S002", "MS-7", "HC-12", "Anna", "p3", "sub-01", "sub-02", "GT01", "Fatima", "Waterman", "Ingrid")
_SESSIONS = ("", "ses-1", "ses-2", "baseline", "month12", "2024-01-31")
_SETS = (("fat", "water"), ("fat", "water", "inphase", "outphase"), ("fat",), ("te345", "te460", "te575"), ("one",))


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Lay down scans of a few subjects, each in a folder or all in one, and know the table."""
    flat = draw.chance(0.3)
    shown = draw.one_of([names for names in _SETS if not flat or len(names) > 1])
    session = "" if flat else draw.one_of(_SESSIONS)
    subjects = [_SUBJECTS[n] for n in draw.random.permutation(len(_SUBJECTS))[: 1 + flat + draw.below(3)]]
    style, glue = draw.below(8), draw.one_of("_-. ")
    short, wanted = "inphase" in shown and draw.chance(0.5), dict[tuple[str, str], dict[str, str]]()
    for subject in subjects:
        place = Path("scans") if flat else Path("scans", *filter(None, (subject, session, draw.one_of(("", "anat")))))
        before = f"{subject}{glue}" if flat or draw.chance(0.5) else ""
        own = [*shown, *(["mask"] if draw.chance(0.4) else [])]
        files = {kind: place / f"{before}{_word(kind, style, short=short)}.nii.gz" for kind in own}
        for file in files.values():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            noise = draw.random.integers(0, 3000, (6, 5, 2)).astype(np.int16)
            nib.save(nib.Nifti1Image(noise, np.diag([-2.0, -2.0, 8.0, 1.0])), folder / file)
        wanted[subject, session] = _channels({kind: file.as_posix() for kind, file in files.items()})
    said = (
        f"{'all in one folder' if flat else 'a folder each'}: {', '.join(shown)}; such as {next(iter(files.values()))}"
    )

    def right(results: Path, _: str) -> str | None:
        with (results / "cohort.csv").open(encoding="utf-8", newline="") as table:
            rows = list(csv.DictReader(table))
        found = {
            (row["subject"], row["session"]): {name: row[name] for name in (*_CHANNELS, "image") if row.get(name)}
            for row in rows
        }
        return None if found == wanted and len(rows) == len(wanted) else f"found {found}, not {wanted}"

    arguments = ("find-scans", "scans", "--region", "thigh", "--out", "cohort.csv")
    return Case(arguments=arguments, changes=said, verdict=Verdict.ACCEPT, right=right)


_CHANNELS = ("fat", "water", "te345", "te460", "te575")


def _word(kind: str, style: int, *, short: bool) -> str:
    words = (_SHORT[kind],) if short and kind in _SHORT else _WORDS[kind]
    return words[style % len(words)]


def _channels(files: Mapping[str, str]) -> dict[str, str]:
    """Give what is to be taken."""
    own = {name: files[name] for name in _CHANNELS if name in files}
    other = files.get("one") or (files.get("te460") if "fat" not in files else None)
    return own | ({"image": other} if other else {})
