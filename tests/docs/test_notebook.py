"""The notebook runs from its first cell to its last in an empty folder."""

import json
import subprocess
import sys
from pathlib import Path

from musclesense.segmentation.measured import FILES

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def cells() -> list[str]:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_runs_in_an_empty_folder(tmp_path: Path) -> None:
    # The last line of a cell is what a notebook shows; here it is only computed.
    script = "\n".join(["import matplotlib", "matplotlib.use('agg')", *cells()])
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True)
    made = {path.name for path in (tmp_path / "result").iterdir()}
    assert made == {*FILES}
    assert (tmp_path / "runs" / "notebook" / "outer0_inner0" / "cases.csv").is_file()


def test_the_notebook_holds_no_results() -> None:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in content["cells"])
