"""What lies in deploy/ gives commands and names that exist."""

import re
import shlex
from pathlib import Path

import pytest

from musclesense.cli.main import _parser
from musclesense.serve.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT, IMAGE, PROXY = (
    (DEPLOY / name).read_text("utf-8") for name in ("musclesense.service", "Containerfile", "nginx.conf")
)


def understood(words: list[str]) -> Settings:
    asked = vars(_parser().parse_args(words))
    assert asked.pop("run").__name__ == "serve" and asked.pop("token_file")
    asked["names"] = tuple(asked["names"])
    return Settings(token="a token of the administrator", **asked)


def test_the_unit_serves_a_name_at_this_machines_own_address() -> None:
    (command,) = re.findall(r"^ExecStart=\S+/musclesense (.*)$", UNIT, re.MULTILINE)
    own = understood(shlex.split(command))
    assert own.is_local and own.names == ("scans.hospital.example",) and own.data == Path("${STATE_DIRECTORY}")
    assert f"proxy_pass http://{own.host}:{own.port};" in PROXY and f"server_name {own.names[0]};" in PROXY
    assert f"client_max_body_size {own.upload_mb}m;" in PROXY


def test_the_image_serves_others() -> None:
    (command,) = re.findall(r'^CMD \["musclesense", (.*)\]$', IMAGE, re.MULTILINE)
    own = understood([word.strip(' "') for word in command.split(",")])
    assert not own.is_local and f"EXPOSE {own.port}" in IMAGE and f"VOLUME {own.data}" in IMAGE


@pytest.mark.parametrize("text", [UNIT, IMAGE, PROXY], ids=["unit", "image", "proxy"])
def test_no_token_stands_in_a_file(text: str) -> None:
    assert not re.search(r"[0-9a-f]{16}", text) and "MUSCLESENSE_TOKEN=" not in text
