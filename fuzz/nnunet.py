"""Raw data sets of nnU-Net: damaged records and files on their way back, and options of their export."""

import gzip
import shutil
from contextlib import suppress
from pathlib import Path

from fuzz.case import Case, Draw
from fuzz.seeds import Seeds, table_text, write_cohort
from fuzz.studies import spoilt_json, spoilt_yaml
from fuzz.tables import TEXTS
from musclesense.studies.layout import FOLDS

OUTS = ("out", "new/out", "x" * 250, "x" * 300, "cohort.csv", "cohort.csv/x", "s0", "empty", "loop", ".")
NUMBERS = ("-1", "0", "1", "4", "5", "1e3", "9" * 30, "nan")
SUBJECTS = (r"(line\d+)_", "(", "(x)", "()", r"(.*?)_(.*)", "(l){99999999999}", "([[a]|l)", "(?i)(LINE)", "(l)(?R)")
RECORDS = (
    "musclesense.json",
    "musclesense.json",
    "musclesense.json",
    FOLDS,
    "dataset.json",
    "splits_final.json",
)


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Export a sound cohort with odd options, or read a spoilt data set as a cohort or with masks."""
    rows = write_cohort(folder, seeds)
    (folder / "cohort.csv").write_text(table_text(rows))
    (folder / "empty").mkdir()
    (folder / "loop").symlink_to("loop")
    if draw.chance(0.2):
        return _export(draw, folder)
    dataset = folder / "Dataset001_A"
    for name, content in seeds.dataset.items():
        (dataset / name).parent.mkdir(parents=True, exist_ok=True)
        (dataset / name).write_bytes(content)
    masked, foreign = draw.chance(0.4), draw.chance(0.3)
    arguments = ["import-nnunet", dataset.name, draw.one_of(OUTS) if draw.chance(0.15) else "out"]
    if masked:
        arguments += ["--predictions", draw.one_of(("masks", "masks", "masks", "empty", "x" * 300, "cohort.csv"))]
        shutil.copytree(dataset / "labelsTs", folder / "masks")
        arguments += ["--fold", draw.one_of(NUMBERS)] if draw.chance(0.2) else []
    elif foreign:
        (dataset / "musclesense.json").unlink()
        if draw.chance(0.5):
            (dataset / "splits_final.json").unlink()
        arguments += ["--region", draw.one_of(("calf", "thigh"))] if draw.chance(0.9) else []
        arguments += ["--subject", draw.one_of(SUBJECTS)] if draw.chance(0.4) else []
        arguments += ["--channels", *draw.some_of(("fat", "water", "te345", "t1", "", "\x1b"), 3)] * draw.chance(0.2)
    said = [_damage(draw, folder, dataset) for _ in range(draw.one_of((1, 1, 1, 2)))]
    return Case(arguments=tuple(arguments), changes=", ".join(said))


def _export(draw: Draw, folder: Path) -> Case:
    """Change options of an export."""
    out = draw.one_of(("Dataset001_A", "Dataset001_A", "Dataset001_A", f"Dataset001_{'A' * 300}", *OUTS))
    channels = draw.some_of(("fat", "water", "te345", "t1", "", "mask"), 3) if draw.chance(0.3) else ["fat"]
    options = ["--channels", *channels]
    for name in ("--outer", "--seed"):
        options += [name, draw.one_of(NUMBERS)] if draw.chance(0.3) else []
    if draw.chance(0.3):
        options += ["--column", draw.one_of(("mask", "compartments", "fat"))]
    if draw.chance(0.5):
        content, _ = spoilt_yaml(draw, b"column: mask\nclasses:\n  muscle: [1]\n")
        (folder / "labels.yaml").write_bytes(content)
        options += ["--labels", draw.one_of(("labels.yaml", "labels.yaml", "labels.yaml", "empty", "loop", "x" * 300))]
    return Case(arguments=("export-nnunet", "cohort.csv", out, *options), changes=f"{out[:20]} {options}"[:200])


def _damage(draw: Draw, folder: Path, dataset: Path) -> str:
    """Spoil a record, or a file or folder of the data set or of the masks."""
    if draw.chance(0.7):
        path = dataset / draw.one_of(RECORDS)
        if not path.is_file():
            return "nothing"
        content, how = path.read_bytes(), "as it is"
        with suppress(ValueError):  # of a record that is damaged already
            content, how = draw.damaged(content) if draw.chance(0.2) else spoilt_json(draw, content)
        path.write_bytes(content)
        return f"{path.name}: {how}"
    files = sorted(path for root in (dataset, folder / "masks") for path in root.rglob("*"))
    path = draw.one_of(files)
    how = draw.one_of(("lost", "renamed", "damaged", "damaged", "pipe", "loop", "device", "empty", "folder"))
    if how == "renamed":
        path.rename(path.with_name(draw.one_of((*filter(_names_file, TEXTS), f"{'y' * 245}.nii.gz", "z\udcff.nii.gz"))))
    elif how == "damaged" and path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(draw.damaged(gzip.decompress(path.read_bytes()))[0], mtime=0))
    else:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        draw.put(how, path)
    return f"{path.relative_to(folder)}: {how}"


def _names_file(text: str) -> bool:
    return bool(text) and "/" not in text and "\0" not in text and len(text.encode()) < 200
