"""The page to judge a mask by: every slice, self-contained, small, without names."""

import base64
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry
from musclesense.segmentation.measured import MeasuredMask
from musclesense.segmentation.measuring import Measuring
from musclesense.segmentation.page import quality_page
from musclesense.segmentation.scan import Scan, from_images
from musclesense.vocabulary import Limbs

from .conftest import TwoLimbs, found_in


def pictures(page: str) -> list[np.ndarray[Any, Any]]:
    """Decode the pictures of a page."""
    stored = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in stored]


def page_of(limbs: TwoLimbs, **how: Any) -> str:
    scan = from_images({"fat": limbs.fat, "water": limbs.water})
    found = found_in(scan, (limbs.right | limbs.left).astype(np.uint8)).measured
    return quality_page(MeasuredMask(scan, found.classes, found.labels, found.limbs, Measuring.asked(**how)), "ab" * 32)


def test_every_slice_is_there_with_its_figures(limbs: TwoLimbs) -> None:
    page = page_of(limbs, erode=5, slices=(1, 3))
    assert re.findall(r'<article data-slice="(\d+)" data-flags="([^"]*)"', page) == [
        ("0", "left_out"),
        ("1", ""),
        ("2", ""),
        ("3", ""),
    ]
    assert len(pictures(page)) == 4
    assert page.count("<td>20.0</td>") >= 4 and page.count("<td>60.0</td>") >= 4  # of each slice, at least
    assert page.count('" value="pass">') == page.count('" value="fail">') == page.count('placeholder="comment"') == 4
    assert "without 5" in page and "ab" * 32 in page


def test_it_needs_nothing_else_and_names_nobody(limbs: TwoLimbs) -> None:
    page = page_of(limbs)
    assert str(limbs.fat) not in page and limbs.fat.name not in page and str(limbs.fat.parent) not in page
    assert not re.findall(r"https?:|//[a-z]+\.|@import|url\(", page)
    assert set(re.findall(r'src="([^"]{0,11})', page)) == {"data:image/"}
    assert "default-src 'none'" in page


def test_the_outline_lies_around_the_limbs_the_subjects_right_on_the_left(limbs: TwoLimbs) -> None:
    picture = pictures(page_of(limbs))[1].astype(int)
    coloured = np.ptp(picture, axis=2) > 100
    amber = coloured & (picture[..., 0] > picture[..., 2])
    blue = coloured & (picture[..., 2] > picture[..., 0])
    assert amber.any() and blue.any()
    assert np.nonzero(amber)[1].max() < np.nonzero(blue)[1].min()
    wide = [np.ptp(np.nonzero(one)[1]) for one in (amber, blue)]
    assert wide[0] / wide[1] == pytest.approx(35 / 50, rel=0.05)


def test_single_muscles_have_their_colours_and_a_legend() -> None:
    geometry = Geometry.from_affine((40, 30, 2), np.diag([2.0, 2.0, 8.0, 1.0]))
    classes = np.zeros(geometry.shape, np.uint8)
    classes[5:15, 5:25], classes[20:30, 5:25] = 1, 2
    scan = Scan({"fat": 100 * (classes > 0) + 1.0}, None, geometry, {})
    labels = LabelSet.from_config({"gracilis <b>": [3], "vastus": [4]})
    page = quality_page(MeasuredMask(scan, classes, labels, Limbs.ONE), "0")
    assert "gracilis &lt;b&gt;" in page and "gracilis <b>" not in page
    colours = re.findall(r'class="key" style="background:(#\w+)"', page)
    assert len({*colours}) == 2
    shown = pictures(page)[0].reshape(-1, 3).astype(int)
    for colour in colours:
        wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        assert (np.abs(shown - wanted).max(axis=1) < 40).any()


@pytest.mark.parametrize("shape", [(1, 4096, 1), (4096, 1, 1), (2, 2, 3), (3, 900, 2)])
@pytest.mark.parametrize("level", [0.0, 5.0, 1e12])
def test_images_of_any_shape_are_drawn_small(shape: tuple[int, int, int], level: float) -> None:
    geometry = Geometry.from_affine(shape, np.diag([1.0, 1.0, 5.0, 1.0]))
    scan = Scan({"fat": np.full(shape, level, np.float32)}, None, geometry, {})
    page = quality_page(MeasuredMask(scan, np.zeros(shape, np.uint8), LabelSet.from_config({"m": []}), Limbs.ONE), "0")
    assert len(pictures(page)) == shape[2]
    assert all(one.shape[0] <= 1024 and one.shape[1] <= 512 for one in pictures(page))


def test_a_stack_of_noise_stays_below_a_few_mebibytes() -> None:
    shape = (150, 70, 96)
    image = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    geometry = Geometry.from_affine(shape, np.diag([2.7, 2.7, 5.0, 1.0]))
    mask = MeasuredMask(
        Scan({"fat": image}, None, geometry, {}), np.zeros(shape, np.uint8), LabelSet.from_config({"m": []}), Limbs.ONE
    )
    page = quality_page(mask, "0")
    assert page.count("<article") == 96 and len(page) < 8e6


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium")
def test_verdicts_become_a_list_in_a_browser(limbs: TwoLimbs, tmp_path: Path) -> None:
    """The page is driven as a reader would: a verdict, a comment, the rest passed."""
    drive = """
<script>
const first = document.querySelectorAll("article")[1];
first.querySelector("input[value=fail]").click();
first.querySelector("input[type=text]").value = '=1+1, "odd"';
document.getElementById("rest").click();
document.title = JSON.stringify([state.textContent, list()]);
</script></body>"""
    file = tmp_path / "qc.html"
    file.write_text(page_of(limbs, slices="1:3").replace("</body>", drive))
    done = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path}/profile",
            "--dump-dom",
            file,
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.S)
    assert title is not None
    assert "3 pass, 1 fail, 0 not judged" in title[1]
    said = title[1].replace("&quot;", '"').replace('\\"', '"')
    mask = "ab" * 32
    assert f'\\n0,pass,"",left_out,{mask}\\n1,fail,"\'=1+1, ""odd""",,{mask}\\n2,pass,"",,{mask}' in said
