"""Pages in one self-contained HTML file: their template, and pictures inside them."""

import base64
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def page_template(package: str, name: str) -> Any:
    """Give a template that lies in a package; filters ``png`` and ``jpeg`` put a picture's bytes into the page."""
    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {kind: partial(_data_uri, kind) for kind in ("png", "jpeg")}
    return environment.get_template(name)


def _data_uri(kind: str, picture: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
