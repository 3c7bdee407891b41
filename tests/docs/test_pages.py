"""The pages: links, images and anchors lead somewhere, commands name what exists, and no module is forgotten."""

import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from musclesense.cli.main import main
from musclesense.cohort import checks
from musclesense.cohort.table import read_table

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
PACKAGE = PROJECT / "src" / "musclesense"
PAGES = sorted([*PROJECT.glob("*.md"), *DOCS.rglob("*.md"), *PROJECT.glob("experiments/*/*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
MODULE = re.compile(r"python -m ([\w.]+)")
VERB = re.compile(r"(?<!import )\bmusclesense ([a-z][\w-]*)(?=[ `\n\\])")
SCRIPT = re.compile(r"\bpython ((?:experiments|benchmarks|fuzz)/[\w/]+\.py)")
OVERRIDE = re.compile(
    r"\b(experiment|labels|grid|augmentation|synthesis|model|region|edition|logger|trainer|schedule)=(\w++)(?!\.)"
)
# What is no file of a group, but a name that the reader makes up or a module of somebody else.
OWN_NAMES = {"labels": {"quadriceps", "front_of_thigh", "other"}, "model": {"my_net", "model"}}
FOREIGN = {"venv", "pip", "mkdocs", "build", "pytest"}


def name(page: Path) -> str:
    """Name a page from the project's folder on."""
    return page.relative_to(PROJECT).as_posix()


def anchors(page: Path) -> set[str]:
    """Give the anchors of a page's headings, as Python-Markdown makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain}


def targets(page: Path) -> Iterator[tuple[Path, str]]:
    """Give the file and the anchor of each relative link outside of code."""
    text = re.sub(r"```.*?```|^ {4}.*$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in LINK.findall(text):
        if not re.match(r"[a-z]+:", link):
            file, _, anchor = link.partition("#")
            yield (page.parent / file if file else page), anchor


TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`((?:, `\w+`)*)")


@pytest.mark.parametrize("page", sorted(DOCS.glob("reference/reliability-*.md")), ids=name)
def test_tests_that_pages_name_exist(page: Path) -> None:
    found = TEST.findall(page.read_text(encoding="utf-8"))
    assert found
    for file, first, others in found:
        tests = (PROJECT / file).read_text(encoding="utf-8")
        for test in filter(None, [first, *re.findall(r"\w+", others)]):
            assert re.search(rf"^def {test}\(", tests, re.MULTILINE), f"{file}::{test}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_images_exist(page: Path) -> None:
    for file, anchor in targets(page):
        assert file.exists(), f"{name(page)}: {file} does not exist"
        if anchor and file.suffix == ".md" and "api" not in file.parts:
            assert anchor in anchors(file), f"{name(page)}: {file.name} has no heading #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_name_what_exists(page: Path) -> None:
    text = "\n".join(CODE.findall(page.read_text(encoding="utf-8"))) + _indented(page)
    for module in set(MODULE.findall(text)) - FOREIGN:
        assert importlib.util.find_spec(module), f"{name(page)}: python -m {module}"
    for verb in VERB.findall(text):
        assert verb in _verbs(), f"{name(page)}: musclesense {verb}"
    for script in SCRIPT.findall(text):
        assert (PROJECT / script).is_file(), f"{name(page)}: python {script}"
    for group, choice in OVERRIDE.findall(text) if page.name != "CHANGELOG.md" else ():  # which names old options, too
        made_up = choice.isupper() or choice in OWN_NAMES.get(group, ())
        assert made_up or (PROJECT / "conf" / group / f"{choice}.yaml").is_file(), f"{name(page)}: {group}={choice}"


def _indented(page: Path) -> str:
    return "\n".join(re.findall(r"^ {4}.*$", page.read_text(encoding="utf-8"), re.MULTILINE))


def _verbs() -> set[str]:
    said = io.StringIO()
    with pytest.raises(SystemExit), contextlib.redirect_stdout(said):
        main(["--help"])
    return set(re.findall(r"^ {4}([a-z-]+)\b", said.getvalue(), re.MULTILINE))


def test_every_page_is_in_the_navigation() -> None:
    listed = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = yaml.safe_load(listed[listed.index("nav:") :])
    assert sorted(_pages(nav["nav"])) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def _pages(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for below in nav.values():
            yield from _pages(below)
    elif isinstance(nav, list):
        for below in nav:
            yield from _pages(below)


def test_every_room_has_a_page_of_the_api() -> None:
    pages = {page.stem for page in (DOCS / "reference" / "api").glob("*.md")}
    rooms = {place.name for place in PACKAGE.iterdir() if (place / "__init__.py").is_file()} - {"cli", "conf"}
    assert rooms <= pages


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/python.md"])
def test_the_first_python_example_runs(page: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"```python\n(.*?)```", (PROJECT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found
    for name in ("fat", "water"):
        (tmp_path / f"{name}.nii.gz").symlink_to(data / f"phantom-smoke-1/sub-004/ses-1/thigh/{name}.nii.gz")
    (tmp_path / "experiments").symlink_to(PROJECT / "experiments")
    monkeypatch.chdir(tmp_path)
    exec(found[1], {})
    assert (tmp_path / "result" / "mask.nii.gz").is_file()


def test_the_example_of_many_scans_takes_a_study_of_the_default_and_keeps_every_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, example = re.findall(r"```python\n(.*?)```", (DOCS / "how-to" / "python.md").read_text("utf-8"), re.DOTALL)
    before = PROJECT / "tests" / "fixtures" / "before"
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "STUDY").symlink_to(before / "study")
    (tmp_path / "my").mkdir()
    rows = (before / "phantom-smoke-1" / "cohort.csv").read_text("utf-8").splitlines(keepends=True)[:3]
    (tmp_path / "my" / "cohort.csv").write_text("".join(rows))
    for subject in (before / "phantom-smoke-1").glob("sub-*"):
        (tmp_path / "my" / subject.name).symlink_to(subject)
    monkeypatch.chdir(tmp_path)
    exec(f"import musclesense as ms\n{example}", {})
    assert len(list(tmp_path.glob("results/sub-*/*/*/mask.nii.gz"))) == 2


def test_the_page_of_the_configuration_names_every_choice() -> None:
    text = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    for group in (PROJECT / "conf").iterdir():
        if group.is_dir() and group.name != "hydra":
            names = {file.stem for file in group.glob("*.yaml")} - {"phantom"}
            assert f"`{group.name}" in text and names <= set(re.findall(r"`(?:\w+=)?(\w+)`", text)), group.name


def test_reference_pages_are_short() -> None:
    for page in (DOCS / "reference").glob("*.md"):
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 130, f"{name(page)} is longer than a reference"


@pytest.mark.parametrize("page", ["architecture.md", "how-to/extend.md"])
def test_files_to_touch_exist(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8").rpartition("## Change it")[2]
    for file in re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.(?:py|yaml|html))`", text):
        made_up, folder = file.endswith("my_net.yaml"), PROJECT if file.startswith("tests/") else PACKAGE
        assert made_up or (folder / file).is_file() or list(PACKAGE.rglob(file)), f"docs/{page}: {file}"


def test_each_change_has_a_row_and_a_section() -> None:
    table = (DOCS / "architecture.md").read_text(encoding="utf-8").partition("## Change it")[2]
    linked = re.findall(r"^\| \[[^]]+\]\(how-to/extend\.md#([a-z-]+)\) \|", table, re.MULTILINE)
    sections = re.findall(r"^## (.+)$", (DOCS / "how-to" / "extend.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert linked == [section.lower().replace(" ", "-") for section in sections]


WALK = DOCS / "how-to" / "your-own-cohort.md"


def ignored(path: str) -> bool:
    return subprocess.run(["git", "check-ignore", "-q", "--no-index", path], cwd=PROJECT, check=False).returncode == 0


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="needs a clone of the repository")
def test_nothing_that_the_pages_make_comes_into_a_commit() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.glob("how-to/*.md"))
    made = {*re.findall(r"`([\w./-]+)`:\n\n```", WALK.read_text(encoding="utf-8"))}
    made |= {*re.findall(r"--out ([a-z]\S*)", text), *re.findall(r"musclesense phantom ([a-z]\S*)", text)}
    assert {"cohort.csv", "compare.py", "conf/labels/quadriceps.yaml", "stand-in", "masks/S001"} <= made
    made |= {"scans/S001/fat.nii.gz", "anywhere/scan.nii", "x/IM1.dcm", "runs/my-thighs", "data/cache", "wandb/x"}
    assert [path for path in sorted(made) if not ignored(path if "." in path else f"{path}/x")] == []


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="needs a clone of the repository")
@pytest.mark.parametrize("path", ["conf/labels/own.yaml", "docs/img/x.png", "tests/fixtures/new/fat.nii.gz", "my.py"])
def test_what_belongs_to_the_project_does(path: str) -> None:
    assert not ignored(path)


def test_the_walk_makes_the_scan_that_it_names(tmp_path: Path) -> None:
    text = WALK.read_text(encoding="utf-8")
    (commands,) = (block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "musclesense phantom" in block)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", "-ec", commands], cwd=tmp_path, env=environment, check=True, capture_output=True)
    (table,) = re.findall(r"`cohort.csv`:\n\n```csv\n(.*?)```", text, re.DOTALL)
    (tmp_path / "cohort.csv").write_text(table)
    checks.check(read_table(tmp_path / "cohort.csv"), label_column="mask", channels=["fat", "water"])
