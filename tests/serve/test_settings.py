"""How the page is served: who may reach it, and what numbers are of use."""

from pathlib import Path

import pytest

from musclesense.errors import InputError
from musclesense.serve.settings import TOKEN_VARIABLE, Settings

TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def no_token_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_this_machine_alone_needs_no_token(host: str, tmp_path: Path) -> None:
    assert Settings.asked(data=tmp_path, host=host).token is None


@pytest.mark.parametrize(
    ("host", "names"), [("0.0.0.0", ()), ("::", ()), ("192.168.1.7", ()), ("scans.example", ()), ("127.0.0.1", ("x",))]
)
def test_others_need_a_token(host: str, names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a token; give token_file=FILE"):
        Settings.asked(data=tmp_path, host=host, names=names)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert Settings.asked(data=tmp_path, host=host, names=names, token_file=tmp_path / "token").token == TOKEN


def test_the_token_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert Settings.asked(data=tmp_path, host="0.0.0.0").token == TOKEN


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "with a\nline" * 4, "umlaut-ä-umlaut-ä-umlaut"])
def test_a_token_that_is_none_is_refused(token: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token + "\n", encoding="utf-8")
    with pytest.raises(InputError) as refused:
        Settings.asked(data=tmp_path, token_file=tmp_path / "token")
    assert not token or token not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("port", (-1, 65536), (0, 80, 65535)),
        ("jobs", (0, 65), (1, 64)),
        ("queue", (0,), (1, 100)),
        ("minutes", (0, -1, float("nan")), (0.5, 600)),
        ("keep_hours", (0, float("inf")), (0.5, 720)),
        ("upload_mb", (0,), (1, 2048)),
    ],
)
def test_numbers_of_no_use_are_refused(
    name: str, wrong: tuple[float, ...], right: tuple[float, ...], tmp_path: Path
) -> None:
    for value in wrong:
        with pytest.raises(InputError, match=name):
            Settings.asked(**{"data": tmp_path, name: value})  # type: ignore[arg-type]
    for value in right:
        assert getattr(Settings.asked(**{"data": tmp_path, name: value}), name) == value  # type: ignore[arg-type]
