"""Folders of studies: damaged records, tables, images and networks."""

import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.case import Case, Draw
from fuzz.seeds import Seeds
from fuzz.tables import PATHS, TEXTS
from musclesense.evaluation import report
from musclesense.studies.layout import StudyFolder

SCRIPT = re.compile(r"<script.*?(?:</script>|\Z)", re.DOTALL | re.IGNORECASE)
TEMPLATE = (Path(report.__file__).parent / "template.html").read_text(encoding="utf-8")
OWN_SCRIPTS = [script for script in SCRIPT.findall(TEMPLATE) if "{" + "{" not in script]
"""Of a page without viewer: what holds values of a study is the viewer's."""
NUMBERS = (
    "",
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "1",
    "2",
    "1e9",
    "1e308",
    "-1e308",
    "1e-320",
    "9" * 30,
    "9" * 5000,
    "x",
    "1_0",
)
YAML = (
    "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n",
    "&a {x: *a}",
    "a: &a {x: 1}\n"
    + "".join(
        f"{c}: &{c} {{x: *{p}, y: *{p}}}\n"
        for p, c in zip("abcdefghijklmnopqrstuvwxy", "bcdefghijklmnopqrstuvwxyz", strict=True)
    ),
    "[" * 3000 + "]" * 3000,
    "{a: " * 3000 + "}" * 3000,
    "!!python/object/apply:os.system [ls]",
    "a: !!binary xx==\nb: 2001-01-01\nc: !!set {x}\n",
    "cohort: 3\nlabels: []\nregion: null\n",
    "cohort: {path: [1]}\n",
    "channels: [fat]\nmodel: 3\nedition: {name: {}}\n",
    "? [a]\n: b\n",
    "1: 2\nnull: 3\ntrue: x\n",
    "a: 1\n---\nb: 2\n",
    "x: " + "9" * 5000 + "\n",
    "",
    "3",
    "- a\n",
)
JSON: tuple[Any, ...] = (
    None,
    [],
    {},
    0,
    -1,
    1.5,
    1e308,
    True,
    "x",
    "../x",
    [[]],
    [["S0"]],
    {"test": []},
    "a\nb",
    "\ud800",
)


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Damage some files of a study, and report on it."""
    files = dict(seeds.study)
    said = [_damage(draw, files, seeds.study) for _ in range(draw.one_of((1, 1, 1, 2)))]
    for name, content in files.items():
        path = folder / "study" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if draw.chance(0.1):
        said.append(_odd_files(draw, StudyFolder(folder / "study")))
    return Case(arguments=("report", "study"), changes=", ".join(said), right=_page)


def _damage(draw: Draw, files: dict[str, bytes], sound: Mapping[str, bytes]) -> str:
    study = StudyFolder(Path())
    run, other, failed = study.run(0, 0), study.run(1, 0), study.run(1, 1)
    read = (
        *(study.settings, study.folds, study.command, run.cases, run.metrics),
        *(run.done, run.overlays, failed.failed, other.cases),
    )
    name = draw.one_of([path.as_posix() for path in read if path.as_posix() in files])
    content = files[name]
    if draw.chance(0.25) or content != sound[name]:  # what is damaged already has no values to change
        files[name], how = draw.damaged(content)
    elif draw.chance(0.05):
        del files[name]
        how = "lost"
    elif name.endswith(".csv"):
        files[name], how = _table(draw, content)
    elif name.endswith(".yaml"):
        files[name], how = spoilt_yaml(draw, content)
    elif name.endswith(".json"):
        files[name], how = spoilt_json(draw, content)
    elif name.endswith(".npz"):
        files[name], how = _arrays(draw, content)
    else:
        files[name], how = (
            draw.one_of((b"\xff\xfe", b"a\0b\x1b[31m", b"<script>alert(1)</script>", b"x" * 10**6)),
            "text",
        )
    return f"{name}: {how}"


def _table(draw: Draw, content: bytes) -> tuple[bytes, str]:
    lines = [line.split(",") for line in content.decode().splitlines()]
    how = draw.one_of(("cell", "cell", "cell", "cell", "column", "row", "many"))
    row, column = 1 + draw.below(len(lines) - 1), draw.below(len(lines[0]))
    match how:
        case "cell":
            text = draw.one_of((*NUMBERS, *TEXTS, *PATHS))
            for line in lines[1:] if draw.chance(0.3) else [lines[row]]:
                line[column] = '"' + text.replace('"', '""') + '"'
            how = f"{lines[0][column]} {text[:30]!r}"
        case "column":
            for line in lines:
                line.pop(column)
        case "row":
            lines.insert(row, lines[row])
        case "many":
            lines += [lines[row]] * draw.one_of((1000, 100_000))
    return "\n".join(",".join(line) for line in lines).encode("utf-8", "replace") + b"\n", how


def spoilt_yaml(draw: Draw, content: bytes) -> tuple[bytes, str]:
    """Change a line of YAML, or put something else in its place; says how."""
    if draw.chance(0.5):
        text = draw.one_of(YAML)
        return text.encode() if draw.chance(0.5) else content + text.encode(), f"yaml {text[:20]!r}"
    lines = content.decode().splitlines()
    at = draw.below(len(lines))
    key, _, _ = lines[at].partition(":")
    value = draw.one_of(
        (*NUMBERS[:13], *(text[:300] for text in TEXTS), "[]", "{}", "[[1]]", "null", "true", "&x 1", "*x")
    )
    lines[at] = f"{key}: {value}"
    return "\n".join(lines).encode("utf-8", "replace"), f"{key.strip()}: {value[:30]!r}"


def spoilt_json(draw: Draw, content: bytes) -> tuple[bytes, str]:
    """Change or take away one value of JSON, or put something else in its place; says how."""
    how = draw.random.random()
    if how < 0.1:
        return draw.one_of(
            (b"[" * 100_000, b"1" * 5000, b'{"a":' * 50_000, b"NaN", b"\xff", b'"' + b"x" * 10**6 + b'"')
        ), "deep"
    tree = json.loads(content)
    places = list(_places(tree))
    parent, key = draw.one_of(places)
    if draw.chance(0.2) and isinstance(parent, dict):
        del parent[key]
        return json.dumps(tree).encode(), f"no {key}"
    parent[key] = draw.one_of((*JSON, *TEXTS, float("nan"), float("inf"), 10**40))
    return json.dumps(tree).encode(), f"{key}: {str(parent[key])[:30]!r}"


def _places(tree: Any) -> list[tuple[Any, Any]]:
    pairs = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    return [place for key, value in pairs for place in [(tree, key), *_places(value)]]


def _arrays(draw: Draw, content: bytes) -> tuple[bytes, str]:
    with np.load(io.BytesIO(content)) as file:
        arrays = dict(file)
    name = draw.one_of(tuple(arrays))
    how = draw.one_of(("lost", "shape", "kind", "header", "pickle", "values", "bomb", "empty", "short"))
    array = arrays[name]
    match how:
        case "lost":
            del arrays[name]
        case "shape":
            arrays[name] = draw.one_of(
                (array[..., None], array.ravel(), array[:0], array[0], np.concatenate([array] * 2))
            )
        case "kind":
            arrays[name] = array.astype(draw.one_of(("f8", "i8", "c8", "S3", "U2", "?", "M8[s]", "i1")))
        case "pickle":
            arrays[name] = np.array([{"a": 1}] * len(array), dtype=object)
        case "values":
            arrays[name] = (array.astype(np.int64) * draw.one_of((-1, 0, 10**9)) + draw.below(3)).astype(array.dtype)
        case "empty":
            arrays[name] = np.zeros((0,), np.uint8)
        case "short":
            arrays[name] = array[:-1]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    if how == "bomb":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for other in arrays:
                archive.writestr(f"{other}.npy", _npy((3, 10_000, 10_000), 300_000_000))
    elif how == "header":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for other in arrays:
                archive.writestr(f"{other}.npy", _npy(draw.one_of(((10**12,), (-1,), (2**62, 4), (2**31,) * 3)), 10))
    return buffer.getvalue(), f"{name} {how}"


def _npy(shape: tuple[int, ...], size: int) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + bytes(size)


def _odd_files(draw: Draw, study: StudyFolder) -> str:
    """Put a folder or a loop in the place of a file."""
    run = study.run(0, 0)
    path = draw.one_of((study.command, run.metrics, run.done, study.report.path, study.settings))
    if path.exists():
        path.unlink()
    how = draw.one_of(("folder", "loop", "file"))
    if how == "folder":
        path.mkdir()
    elif how == "loop":
        path.symlink_to(path.name)
    else:
        path.write_bytes(b"")
    return f"{path.name} is a {how}"


def _page(folder: Path, said: str) -> str | None:
    page = StudyFolder(folder / "study").report.page
    if not page.is_file() or not said.startswith("Study study: "):
        return "no page or no table"
    if SCRIPT.findall(page.read_text(encoding="utf-8")) != OWN_SCRIPTS:
        return "another script on the page than its own"
    outside = [path for path in folder.rglob("*.png") if not path.is_relative_to(page.parent)]
    return f"{outside[0]} lies outside the report" if outside else None
