"""The picture of what wandb shows of a study."""

from pathlib import Path

from docs.figures.wandb_view import draw_view

from musclesense.evaluation.report.page import write_report
from musclesense.studies.reading import read_study

from ..shared.studies import StudyWriter


def test_the_picture_is_of_the_study(write_study: StudyWriter, tmp_path: Path) -> None:
    drawn = []
    for name, finished in (("one", [(0, 0)]), ("again", [(0, 0)]), ("two", [(0, 0), (1, 1)])):
        folder = write_study(name, finished=finished)
        write_report(folder)
        draw_view(tmp_path / f"{name}.png", read_study(folder))
        drawn.append((tmp_path / f"{name}.png").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2] and drawn[0].startswith(b"\x89PNG")
