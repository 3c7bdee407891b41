"""Trains all networks of this project in one call, side by side, and keeps what is needed to use and to judge them.

``python experiments/train_all.py OUT [--machine gpu_shared] [--only NAME] [OVERRIDE ...]``

Each network is a run of ``train.py experiment=NAME``, which goes on where it was stopped when the command is given
again. Of each that is finished ``OUT`` holds ``NAME.ckpt``, a bundle in half precision, and all of them have their
records in ``OUT/records.zip``: configuration, curves, cases and what was said, below the name of the experiment.
"""

import argparse
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from musclesense.endings import GO_ON, held, stopped_together, told
from musclesense.segmentation.export import export_bundle
from musclesense.storage.atomic import atomic_path
from musclesense.studies.layout import RunFolder, StudyFolder

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = ("any_contrast", "any_contrast_muscles", "any_dixon")


def main() -> int:
    """Read the command line, train, and keep; give 1 where a training failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--machine", help="a file in conf/machine; without one, experiments as they stand")
    parser.add_argument("--only", action="append", choices=NETWORKS, help="one of the networks; may be given again")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options, overrides = parser.parse_known_args()
    options.only = options.only or NETWORKS
    options.out.mkdir(parents=True, exist_ok=True)
    machine = [] if options.machine is None else [f"machine={options.machine}"]
    with told(GO_ON):
        failed = train(
            {name: options.out / f"{name}.log" for name in options.only}, [*machine, *overrides], options.runs
        )
        folders = {name: StudyFolder(options.runs / name).run(0, 0) for name in options.only}
        finished = {name: run for name, run in folders.items() if run.is_finished}
        for name, run in finished.items():
            keep_network(run, options.out / f"{name}.ckpt")
        keep_records(finished, options.out / "records.zip")
    return 1 if failed else 0


def train(logs: dict[str, Path], overrides: list[str], runs: Path) -> list[str]:
    """Train networks side by side, each with its log, and name those that failed."""
    trainings: list[subprocess.Popen[str]] = []
    with stopped_together(trainings):
        for name, log in logs.items():
            words = [str(ROOT / "train.py"), f"experiment={name}", *overrides, f"study={name}", f"runs={runs}"]
            with log.open("w") as said, held():
                trainings.append(
                    subprocess.Popen([sys.executable, *words], stdout=said, stderr=subprocess.STDOUT, text=True)
                )
        codes = dict(zip(logs, [training.wait() for training in trainings], strict=True))
    for name, log in logs.items():
        print(f"{name}: {'failed' if codes[name] else 'trained'}; see {log}")
    return [name for name, code in codes.items() if code]


def keep_network(run: RunFolder, out: Path) -> None:
    """Write the best network of a run as a bundle in half precision."""
    shutil.rmtree(out, ignore_errors=True)  # of an earlier call
    export_bundle(run.path, out, half=True)


def keep_records(runs: dict[str, RunFolder], out: Path) -> None:
    """Put the small files of each run into an archive."""
    with atomic_path(out) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, run in runs.items():
            for file in sorted(
                path for path in run.path.iterdir() if path.suffix in (".yaml", ".json", ".csv", ".txt")
            ):
                archive.write(file, f"{name}/{file.name}")


if __name__ == "__main__":
    sys.exit(main())
