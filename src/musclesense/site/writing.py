"""Writes the page without a server: scripts, networks and what runs them, in one folder."""

import json
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from musclesense.errors import InputError
from musclesense.imaging.frame import Z_SCORE
from musclesense.imaging.label_files import colour
from musclesense.networks.card import is_bundle, read_card, read_weights
from musclesense.networks.onnx import UnsuitedError, multiple_of, onnx_model, require_whole_frames
from musclesense.networks.shipped import place_of, shipped
from musclesense.networks.spec import NetworkSpec
from musclesense.site.runtime import RUNTIME
from musclesense.storage import niivue
from musclesense.storage.atomic import atomic_folder
from musclesense.storage.npm import REGISTRY
from musclesense.storage.pages import page_template
from musclesense.storage.paths import require_free
from musclesense.version import __version__
from musclesense.vocabulary import Channel

MOST_MB = 256
"""Of a file that the page takes; its voxels are bounded by `static/nifti.js`."""
_SHARED = ("app.css", "drawing.js", "viewer.js", "volume.js", "icon.svg")
_RUNTIME = "onnxruntime"
_SHOWS = {Channel.IMAGE.value: "one image of any contrast"}
_LICENCE = """\
{name} {version}, https://github.com/microsoft/onnxruntime

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def write_site(out: Path, models: Sequence[str] = (), *, runtime: Path | None = None, registry: str = REGISTRY) -> Path:
    """Write the page without a server.

    Args:
        out: Folder to make.
        models: Names or folders of bundles, each of a network that takes one image; none: those of the package.
        runtime: Archive or folder of ONNX Runtime Web; None: it is fetched.
        registry: The npm registry that it is fetched from.

    Returns:
        The folder.

    Raises:
        InputError: A network cannot be used there, the runtime is not to be had, or ``out`` is in use.
    """
    require_free(out, or_empty=True)
    networks = [_network(model, f"network{number}") for number, model in enumerate(dict.fromkeys(models or shipped()))]
    of_runtime, viewer = RUNTIME.files(runtime, registry), niivue.Viewer().files() if niivue.is_packed() else {}
    with atomic_folder(out) as draft:
        for name in _SHARED:
            (draft / name).write_bytes((files("musclesense.serve") / "static" / name).read_bytes())
        for script in (files("musclesense.site") / "static").iterdir():
            (draft / script.name).write_bytes(script.read_bytes())
        for name, content in ChainMap(*(weights for _, weights in networks)).items():
            (draft / name).write_bytes(content)
        (draft / _RUNTIME).mkdir()
        for name, content in of_runtime.items():  # not every host knows what .mjs is
            (draft / _RUNTIME / name.replace(".mjs", ".js")).write_bytes(content)
        for name, content in viewer.items():
            (draft / "niivue").mkdir(exist_ok=True)
            (draft / "niivue" / name).write_bytes(content)
        (draft / _RUNTIME / "LICENSE").write_text(_LICENCE.format(**vars(RUNTIME)), encoding="utf-8")
        told = [network for network, _ in networks]
        (draft / "networks.json").write_text(json.dumps(told), encoding="utf-8")
        (draft / "index.html").write_text(_page(told, niivue=bool(viewer)), encoding="utf-8")
    return out


def _page(networks: Sequence[Mapping[str, Any]], *, niivue: bool) -> str:
    from markupsafe import Markup

    bench = Markup(page_template("musclesense.serve", "templates/bench.html").render(niivue=niivue))
    page = page_template("musclesense.site", "templates/page.html")
    return str(page.render(bench=bench, niivue=niivue, networks=networks, most=MOST_MB, version=__version__))


def _network(model: str, stem: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Give what the page has to know of the networks of a bundle, and the file of each."""
    from safetensors.numpy import load

    folder = place_of(model)
    if not is_bundle(folder):
        raise InputError(f"{model}: no bundle; give {' or '.join((*shipped(), 'the folder of one'))}")
    card = read_card(folder)
    spec = card.spec
    if len(spec.images) > 1:
        raise InputError(f"{model}: takes {', '.join(spec.images)}; give a network that takes one image")
    if spec.normalisation != Z_SCORE:
        raise InputError(f"{model}: takes images normalised by {spec.normalisation}; give a network of {Z_SCORE}")
    try:
        require_whole_frames(spec)
        members = [onnx_model(spec, weights) for weights in read_weights(folder, card, load)]
    except UnsuitedError as error:
        raise InputError(f"{model}: cannot be written as ONNX ({error}); give one of the project's U-Nets") from error
    content = {f"{stem}.{number}.onnx": member for number, member in enumerate(members)}
    shows = _SHOWS.get(spec.channels[0], f"the {spec.channels[0]} image")
    told = {"title": folder.absolute().name, "shows": shows, "spec": {**dict(_of_spec(spec)), "files": [*content]}}
    return told, content


def _of_spec(spec: NetworkSpec) -> Iterator[tuple[str, Any]]:
    """Give what the scripts use of a specification."""
    config = spec.to_config()
    yield from ((name, config[name]) for name in ("grid", "regions", "threshold", "flip", "scales", "across_mm"))
    yield "multiple", multiple_of(spec.network)
    yield "mirror", list(spec.labels.mirror)
    values = zip(spec.labels.names, spec.labels.written, strict=True)
    labels = [{"name": name, "value": value, "colour": colour(at)} for at, (name, value) in enumerate(values)]
    yield "labels", labels
