"""NiiVue comes into the package when that is built; from there, or from elsewhere, it comes to pages."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from musclesense.errors import InputError
from musclesense.storage import niivue
from musclesense.storage.niivue import NIIVUE, Viewer, is_packed, pack

OURS, OLDER = b"// a viewer", b"// an older viewer"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's folder for it, and a release that is small; no registry answers."""
    ours = replace(NIIVUE, digests={"niivue.umd.js": hashlib.sha256(OURS).hexdigest()})
    monkeypatch.setattr(niivue, "NIIVUE", ours)
    monkeypatch.setattr(niivue, "FOLDER", tmp_path / "package" / "niivue")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "no://registry")
    monkeypatch.delenv(niivue.VARIABLE, raising=False)
    return niivue.FOLDER


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the variable names for a build."""
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "niivue.umd.js").write_bytes(OURS)
    monkeypatch.setenv(niivue.VARIABLE, str(tmp_path / "given"))
    return tmp_path / "given"


@pytest.mark.parametrize("before", [None, OLDER, OURS[:5]])
def test_a_build_puts_it_into_the_package_with_its_licence(before: bytes | None, folder: Path, fetched: Path) -> None:
    if before is not None:
        folder.mkdir(parents=True)
        (folder / "niivue.umd.js").write_bytes(before)
        (folder / "left.js").touch()
    assert not is_packed()
    assert pack() == "" and is_packed()
    assert {file.name for file in folder.iterdir()} == {"niivue.umd.js", "LICENSE"}
    licence = (folder / "LICENSE").read_text(encoding="utf-8")
    assert licence.startswith(f"{NIIVUE.name} {NIIVUE.version}") and "Niivue\nAll rights reserved" in licence
    (fetched / "niivue.umd.js").unlink()
    assert pack() == "" and is_packed(), "what is there is not fetched again"


def test_a_build_that_has_none_says_why_and_writes_nothing(
    folder: Path, fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fetched / "niivue.umd.js").write_bytes(OLDER)
    assert pack().startswith(f"{fetched}: holds another niivue.umd.js; give @niivue/niivue")
    (fetched / "niivue.umd.js").unlink()
    assert pack().endswith(f"give its file as {niivue.VARIABLE}")
    monkeypatch.delenv(niivue.VARIABLE)
    assert pack().startswith("no://registry/@niivue/niivue/-/niivue-")
    assert not folder.exists() and not is_packed()


def test_a_page_takes_what_is_given_else_that_of_the_package_else_it_is_fetched(folder: Path, fetched: Path) -> None:
    with pytest.raises(InputError, match="no://registry"):
        Viewer(registry="no://registry").files()
    pack()
    assert Viewer(registry="no://registry").files()["niivue.umd.js"] == OURS
    (folder / "niivue.umd.js").write_bytes(OLDER)
    assert Viewer(fetched).files()["niivue.umd.js"] == OURS
