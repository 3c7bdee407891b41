"""Nested folds, grouped by subject: who is trained on, validated on and tested on.

Each outer fold tests its own subjects. The others are parted into inner folds, of which a run validates on one and
trains on the rest.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from musclesense.cohort.table import Acquisition, CohortTable
from musclesense.errors import InputError
from musclesense.storage.locks import locked
from musclesense.storage.records import read_json, require_format, unreadable, write_json

# What to balance, most urgent first: a fold without a region has no score for it, so subjects by region outweigh all,
# then come subjects by group, subjects by group within a region, and acquisitions by region.
_REGION, _GROUP, _GROUP_IN_REGION, _ACQUISITIONS = 1_000_000, 1_000, 100, 1
MOST_FOLDS = 200
FORMAT = 2
_KEYS = {1: ("d2", "d4"), FORMAT: ("test", "validation")}
"""What each format calls the subjects of a fold."""
MOST_GROUPS = 100
"""Folds cannot be balanced by more; a column of names is no group."""


@dataclass(frozen=True)
class Split:
    """The subjects of one run; nobody is in two of the three.

    Attributes:
        train: Whose cases the network learns from.
        validation: Whose cases tell the best epoch.
        test: Whose cases are scored, once, at the end.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NestedFolds:
    """Outer folds over all subjects and, for each, inner folds over the subjects outside it.

    Attributes:
        table: Digest of the cohort table that they were drawn from.
        seed: Seed of the draw.
        outer: Test subjects of each outer fold.
        inner: For each outer fold, the validation subjects of each inner fold.
    """

    table: str
    seed: int
    outer: tuple[tuple[str, ...], ...]
    inner: tuple[tuple[tuple[str, ...], ...], ...]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everybody, in order of name."""
        return tuple(sorted(subject for fold in self.outer for subject in fold))

    @property
    def runs(self) -> list[tuple[int, int]]:
        """Outer and inner fold of every run, in order."""
        return [(outer, inner) for outer, own in enumerate(self.inner) for inner in range(len(own))]

    def split(self, outer: int, inner: int) -> Split:
        """Give the subjects of the run ``(outer, inner)``.

        Raises:
            InputError: There is no such fold.
        """
        _require_fold("outer", outer, len(self.outer))
        _require_fold("inner", inner, len(self.inner[outer]))
        test, validation = self.outer[outer], self.inner[outer][inner]
        elsewhere = {*test, *validation}
        train = tuple(subject for subject in self.subjects if subject not in elsewhere)
        return Split(train=train, validation=validation, test=test)

    def of(self, subjects: Collection[str]) -> Self:
        """Give the folds of some of the subjects."""

        def chosen(folds: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
            return tuple(tuple(subject for subject in fold if subject in subjects) for fold in folds)

        return replace(self, outer=chosen(self.outer), inner=tuple(map(chosen, self.inner)))

    def save(self, path: Path) -> None:
        """Write the folds to a JSON file, atomically."""
        folds = [
            {"test": test, "validation": validation} for test, validation in zip(self.outer, self.inner, strict=True)
        ]
        write_json(path, {"format": FORMAT, "table": self.table, "seed": self.seed, "outer": folds})

    @classmethod
    def load(cls, path: Path, *, remedy: str = "remove the study folder and start again") -> Self:
        """Read the folds that :meth:`save` wrote, in this release or an earlier one.

        Args:
            path: The file.
            remedy: What is said where it cannot be read.

        Raises:
            InputError: The file is missing, of a newer format, or does not hold nested folds.
        """
        content = read_json(path, remedy=remedy)
        test, validation = _KEYS[require_format(path, content, newest=FORMAT)]
        with unreadable(path, ValueError, KeyError, TypeError, OverflowError, remedy=remedy, said="no readable folds"):
            folds = cls(
                table=str(content["table"]),
                seed=int(content["seed"]),
                outer=tuple(_names(fold[test]) for fold in content["outer"]),
                inner=tuple(tuple(map(_names, fold[validation])) for fold in content["outer"]),
            )
        if not _is_nested(folds):
            raise InputError(f"{path}: subjects are missing or occur twice; {remedy}")
        return folds


def shortage(subjects: int, outer: int, inner: int) -> str | None:
    """Say why so many subjects cannot make ``outer`` folds with ``inner`` folds in each, or None where they can."""
    for name, folds in (("outer", outer), ("inner", inner)):
        if folds < 2:
            return f"{folds} {name} folds: at least 2 are needed; correct the number of folds"
        if folds > MOST_FOLDS:
            return f"{folds} {name} folds: at most {MOST_FOLDS} can be drawn; correct the number of folds"
    # The largest outer fold holds the rounded-up share; the rest must fill the inner folds.
    needed = max(outer, inner)
    while needed - math.ceil(needed / outer) < inner:
        needed += 1
    if subjects >= needed:
        return None
    return (
        f"{subjects} {'subject is' if subjects == 1 else 'subjects are'} too few for {outer} outer and {inner} inner "
        f"folds, which take {needed}; add subjects or ask for fewer folds"
    )


def draw(
    acquisitions: Sequence[Acquisition],
    *,
    table: str,
    seed: int,
    outer: int = 5,
    inner: int = 5,
    among: Sequence[Acquisition] = (),
) -> NestedFolds:
    """Draw nested folds, grouped by subject and balanced by region and group.

    The folds of one level differ by at most one in their number of subjects, or of subjects and region where there are
    others ``among`` whom they are drawn. The result depends on the acquisitions, the seed and the numbers of folds, not
    on the order of rows, the process or the version of a library.

    Args:
        acquisitions: The rows that the study uses.
        table: Digest of the table that they come from.
        seed: Any integer.
        outer: Number of outer folds, at least 2.
        inner: Number of inner folds, at least 2.
        among: All rows of the table, for studies of other rows of it to have each subject in the same folds; the
            subjects of ``acquisitions`` are chosen then. Not where a fold would hold none of them.

    Raises:
        InputError: Too few subjects or folds.
    """
    subjects = {row.subject for row in acquisitions}
    if problem := shortage(len(subjects), outer, inner):
        raise InputError(problem)
    if (groups := len({row.group for row in acquisitions})) > MOST_GROUPS:
        raise InputError(f"{groups} groups are too many to balance; give {MOST_GROUPS} at most")
    for rows in (among, acquisitions) if len({row.group for row in among}) <= MOST_GROUPS else (acquisitions,):
        drawn = nest(_deal(rows, outer, salt=f"{seed}"), rows, table=table, seed=seed, inner=inner) if rows else None
        if drawn and _is_nested(chosen := drawn.of(subjects)):
            return chosen
    raise AssertionError("folds of enough subjects are nested")


def nest(
    outer: Sequence[Collection[str]], acquisitions: Sequence[Acquisition], *, table: str, seed: int, inner: int = 5
) -> NestedFolds:
    """Draw inner folds, as `draw` does, within outer folds that are given: the test subjects of each, everybody once.

    There can be no more inner folds than subjects outside any outer fold.
    """
    subjects = {acquisition.subject for acquisition in acquisitions}
    validation = [
        _deal(select(acquisitions, subjects.difference(tested)), inner, salt=f"{seed}/{number}")
        for number, tested in enumerate(outer)
    ]
    return NestedFolds(
        table=table, seed=seed, outer=tuple(tuple(sorted(test)) for test in outer), inner=tuple(validation)
    )


def load_or_draw(
    path: Path,
    table: CohortTable,
    acquisitions: Sequence[Acquisition],
    *,
    known: bool = False,
    seed: int,
    outer: int = 5,
    inner: int = 5,
) -> NestedFolds:
    """Read the folds of a study, or draw and write them where there are none yet; safe among processes.

    With ``known``, the rows are known to be those of the study: the bytes of the table do not count.

    Raises:
        InputError: As for `load_fitting` and `draw`.
    """
    if not path.exists():
        with locked(path):
            if not path.exists():
                asked = {"seed": seed, "outer": outer, "inner": inner}
                draw(acquisitions, table=table.digest, among=table.acquisitions, **asked).save(path)
    return load_fitting(path, None if known else table, acquisitions, seed=seed, outer=outer, inner=inner)


def load_fitting(
    path: Path,
    table: CohortTable | None,
    acquisitions: Iterable[Acquisition],
    *,
    seed: int | None = None,
    outer: int | None = None,
    inner: int | None = None,
) -> NestedFolds:
    """Read folds and refuse those that were drawn for something else; what is None may be any.

    Raises:
        InputError: Table, seed, numbers of folds or subjects differ; all differences are named.
    """
    folds = NestedFolds.load(path)
    differences = []
    if table is not None and folds.table != table.digest:
        differences.append(f"{table.path} has changed since")
    for name, drawn, asked in (
        ("seed", folds.seed, seed),
        ("outer folds", len(folds.outer), outer),
        ("inner folds", len(folds.inner[0]), inner),
    ):
        if asked not in (drawn, None):
            differences.append(f"{name} {drawn} there, {asked} asked for")
    changed = {acquisition.subject for acquisition in acquisitions}.symmetric_difference(folds.subjects)
    if changed:
        differences.append(
            f"{len(changed)} subject{' differs' if len(changed) == 1 else 's differ'}, such as {min(changed)!r}"
        )
    if differences:
        raise InputError(
            f"{path}: does not fit ({'; '.join(differences)}); give the study a new name or remove its folder"
        )
    return folds


def select(acquisitions: Iterable[Acquisition], subjects: Collection[str]) -> list[Acquisition]:
    """Give the acquisitions of ``subjects`` in their order."""
    wanted = frozenset(subjects)
    return [acquisition for acquisition in acquisitions if acquisition.subject in wanted]


def describe(folds: NestedFolds, acquisitions: Sequence[Acquisition]) -> str:
    """Lay out in plain text how groups and regions are balanced, and who is where."""
    regions = sorted({acquisition.region.value for acquisition in acquisitions})
    groups = sorted({acquisition.group for acquisition in acquisitions})

    def balance(name: str, subjects: Collection[str]) -> list[str]:
        rows = select(acquisitions, subjects)
        of_region = Counter(row.region.value for row in rows)
        of_group = Counter({row.subject: row.group for row in rows}.values())
        counts = [len(subjects), len(rows), *(of_region[r] for r in regions), *(of_group[g] for g in groups)]
        return [name, *map(str, counts)]

    balances = [["fold", "subjects", "acquisitions", *regions, *(group or "no group" for group in groups)]]
    for outer, (test, inner) in enumerate(zip(folds.outer, folds.inner, strict=True)):
        balances.append(balance(f"test outer={outer}", test))
        balances.extend(balance(f"  validation outer={outer} inner={n}", own) for n, own in enumerate(inner))
    tested = {subject: str(outer) for outer, test in enumerate(folds.outer) for subject in test}
    validated = [{s: str(number) for number, own in enumerate(inner) for s in own} for inner in folds.inner]
    places = [["subject", "test", *(f"validation outer={outer}" for outer in range(len(folds.outer)))]]
    places += [[s, tested[s], *(of_outer.get(s, "-") for of_outer in validated)] for s in folds.subjects]
    return "\n".join(
        [
            f"{len(folds.subjects)} subjects, {len(acquisitions)} acquisitions, seed {folds.seed}: "
            f"{len(folds.outer)} outer folds of {len(folds.inner[0])} inner folds",
            "",
            "Balance: acquisitions by region, subjects by group",
            *_aligned(balances),
            "",
            "Who is where: each subject is tested in one outer fold (test: its number), and validated on in one inner",
            "fold of each other outer fold (validation: its number); the other runs train on the subject",
            *_aligned(places),
        ]
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    layout = "  ".join(["{:<%d}", *["{:>%d}"] * (len(widths) - 1)]) % tuple(widths)
    return [layout.format(*row) for row in rows]


def _deal(acquisitions: Sequence[Acquisition], folds: int, *, salt: str) -> tuple[tuple[str, ...], ...]:
    """Deal subjects to folds at random, then swap pairs while that makes the folds more alike.

    Starting from equal sizes, swaps keep them: unlike scikit-learn's StratifiedGroupKFold, no fold can come out empty
    or leave too few subjects for the inner folds.
    """
    # Hashes order the subjects the same way under every version of every library.
    subjects = sorted({a.subject for a in acquisitions}, key=lambda s: hashlib.sha256(f"{salt}/{s}".encode()).digest())
    traits, weights = _traits(acquisitions, subjects)
    fold = np.arange(len(subjects)) % folds
    _, kind = np.unique(traits, axis=0, return_inverse=True)
    norms = (traits**2) @ weights
    while True:
        sums = np.stack([traits[fold == number].sum(axis=0) for number in range(folds)])
        # Of subjects alike in one fold, the first stands for all.
        firsts = np.sort(np.unique(kind * folds + fold, return_index=True)[1])
        own_traits, own_fold, own_norms = traits[firsts], fold[firsts], norms[firsts]
        apart = 2 * (own_norms[:, None] + own_norms[None, :] - 2 * (own_traits * weights) @ own_traits.T)
        # Change of the sum of squares over folds when subjects a and b change places.
        towards = (own_traits * weights) @ sums.T
        own = towards[np.arange(len(firsts)), own_fold]
        other = towards[:, own_fold]
        change = apart + 2 * (other + other.T - own[:, None] - own[None, :])
        a, b = np.unravel_index(np.argmin(change), change.shape)
        if change[a, b] >= 0:
            break
        a, b = firsts[a], firsts[b]
        fold[a], fold[b] = fold[b], fold[a]
    return tuple(
        tuple(sorted(s for s, f in zip(subjects, fold, strict=True) if f == number)) for number in range(folds)
    )


def _traits(
    acquisitions: Sequence[Acquisition], subjects: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count what is to be balanced: an integer (subjects, traits), and the weight of each trait."""
    counts: dict[str, Counter[tuple[int, str, str]]] = {subject: Counter() for subject in subjects}
    for acquisition in acquisitions:
        group, region, count = acquisition.group, acquisition.region.value, counts[acquisition.subject]
        count[_REGION, region, ""] = 1
        count[_GROUP, "", group] = 1
        count[_GROUP_IN_REGION, region, group] = 1
        count[_ACQUISITIONS, region, ""] += 1
    traits = sorted(set().union(*counts.values()))
    table = np.array([[counts[subject][trait] for trait in traits] for subject in subjects], dtype=np.int64)
    return table, np.array([weight for weight, _, _ in traits], dtype=np.int64)


def _require_fold(name: str, value: int, folds: int) -> None:
    if value not in range(folds):
        raise InputError(f"{name}={value}: no such fold; choose {name} from 0 to {folds - 1}")


def _names(subjects: object) -> tuple[str, ...]:
    if not isinstance(subjects, list) or not all(isinstance(subject, str) for subject in subjects):
        raise TypeError(f"{subjects!r} is no list of subjects")
    return tuple(subjects)


def _is_nested(folds: NestedFolds) -> bool:
    everybody = folds.subjects
    levels = [(set(everybody), folds.outer)]
    levels += [({*everybody}.difference(test), inner) for test, inner in zip(folds.outer, folds.inner, strict=True)]
    return len(set(everybody)) == len(everybody) and all(
        len(parts) >= 2 and all(parts) and sorted(chain(*parts)) == sorted(whole) for whole, parts in levels
    )
