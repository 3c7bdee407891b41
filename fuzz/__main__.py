"""``python -m fuzz [5000] [--seed 0] [--jobs 2] [--kind KIND] [--only NUMBER] [--keep FOLDER]``.

Tries inputs that are spoilt at random and prints, by kind, how many ended in a right result, in a clean refusal
(exit code 2, lines that begin with ``error: `` and nothing written) or in a failure. Exit code 1 if there are failures.
The same seed gives the same inputs, whatever the number of jobs. Failing inputs are kept in ``--keep``, each with its
command and what was said; ``--kind`` and ``--only`` try one again. Linux only, since it forks and limits memory.
"""

import argparse
import multiprocessing
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a process with threads of OpenMP cannot be forked

from fuzz import commands, images, models, nnunet, overrides, seeds, studies, tables
from fuzz.case import Draw, Maker
from fuzz.judge import REFUSED, RIGHT, judge, listing
from fuzz.meaning import (
    bundles,
    content,
    corrected,
    dialects,
    geometry,
    limbs,
    people,
    phases,
    scores,
    swaps,
    trees,
    unknown_keys,
)
from fuzz.sandbox import run

MAKERS: dict[str, Maker] = {
    "images": images.make,
    "tables": tables.make,
    "overrides": overrides.make,
    "studies": studies.make,
    "checkpoints": models.make,
    "nnunet": nnunet.make,
    "limbs": limbs.make,
    "geometry": geometry.make,
    "people": people.make,
    "dialects": dialects.make,
    "phases": phases.make,
    "swaps": swaps.make,
    "content": content.make,
    "scores": scores.make,
    "unknown_keys": unknown_keys.make,
    "corrected": corrected.make,
    "bundles": bundles.make,
    "trees": trees.make,
}
SHARES = {
    "images": 0.35,
    "tables": 0.20,
    "overrides": 0.22,
    "studies": 0.04,
    "checkpoints": 0.08,
    "nnunet": 0.03,
    "limbs": 0.02,
    "geometry": 0.03,
    "people": 0.02,
    "dialects": 0.02,
    "phases": 0.02,
    "swaps": 0.02,
    "content": 0.02,
    "scores": 0.02,
    "unknown_keys": 0.02,
    "corrected": 0.02,
    "bundles": 0.02,
    "trees": 0.02,
}
CONF = Path(__file__).resolve().parents[1] / "conf"


@dataclass(frozen=True)
class Tried:
    """What became of one input."""

    kind: str
    number: int
    result: str
    seconds: float
    mebibytes: float
    said: str

    @property
    def failed(self) -> bool:
        """Whether the project did wrong."""
        return self.result not in (RIGHT, REFUSED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try inputs and print the table; give the exit code."""
    options = _options(arguments)
    shares = {options.kind: 1.0} if options.kind else SHARES
    asked = [
        (kind, number)
        for kind, share in shares.items()
        for number in ([options.only] if options.only is not None else range(round(options.inputs * share)))
    ]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        sound = seeds.make(Path(name), CONF)
        attempt = partial(_attempt, seed=options.seed, root=Path(name), sound=sound, keep=options.keep)
        # Long inputs are of one kind and stand together: mixed, they keep both processes busy until the end.
        mixed = sorted(asked, key=lambda pair: (pair[1] / shares[pair[0]], pair[0]))
        with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
            tried = []
            for one in pool.imap_unordered(attempt, mixed):
                tried.append(one)
                if one.failed:
                    print(f"{one.kind} {one.number}: {one.result}  [{one.said}]", file=sys.stderr)
    print(table(tried))
    took, worked = time.monotonic() - started, sum(one.seconds for one in tried)
    print(
        f"\nseed {options.seed}; {took:.0f} s with {options.jobs} processes, "
        f"the commands {worked:.0f} s of the processor"
    )
    return 1 if any(one.failed for one in tried) else 0


def table(tried: Sequence[Tried]) -> str:
    """Lay out results by kind as a table in Markdown."""
    lines = [
        "| kind | inputs | right results | clean refusals | failures | slowest (s) | greatest memory (MiB) |",
        "|---|---|---|---|---|---|---|",
    ]
    kinds = [kind for kind in MAKERS if any(one.kind == kind for one in tried)]
    for name, chosen in [*((kind, [one for one in tried if one.kind == kind]) for kind in kinds), ("all", list(tried))]:
        counts = Counter("failed" if one.failed else one.result for one in chosen)
        cells = [name, len(chosen), counts[RIGHT], counts[REFUSED], counts["failed"]]
        cells += [f"{max(one.seconds for one in chosen):.1f}", f"{max(one.mebibytes for one in chosen):.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _attempt(which: tuple[str, int], *, seed: int, root: Path, sound: seeds.Seeds, keep: Path | None) -> Tried:
    kind, number = which
    place = root / f"{kind}-{number}"
    folder = place / "folder"
    folder.mkdir(parents=True)
    case = MAKERS[kind](Draw(seed, list(MAKERS).index(kind), number), folder, sound)
    before = listing(folder)
    command = (
        partial(commands.train, case.arguments, CONF) if case.train else partial(commands.musclesense, case.arguments)
    )
    outcome = run(command, folder=folder, streams=place)
    result = judge(case, outcome, folder, before)
    tried = Tried(kind, number, result, outcome.seconds, outcome.mebibytes, case.changes)
    if tried.failed and keep is not None:
        line = shlex.join(["train.py" if case.train else "musclesense", *case.arguments])
        (place / "case.txt").write_text(f"{result}\n{case.changes}\n{line}\n", errors="backslashreplace")
        shutil.rmtree(keep / place.name, ignore_errors=True)
        keep.mkdir(parents=True, exist_ok=True)
        shutil.move(place, keep / place.name)
    else:
        shutil.rmtree(place)
    return tried


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Try inputs that are spoilt at random.")
    parser.add_argument("inputs", type=int, nargs="?", default=5000, help="how many (default 5000)")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--kind", choices=tuple(MAKERS), help="inputs of one kind alone")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="the one input of --kind with this number")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where failing inputs are kept")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
