"""A view of a study in wandb, as a script that makes it: a view is saved by wandb's server alone."""

from pathlib import Path

from musclesense.storage.records import write_text
from musclesense.studies.layout import StudyFolder
from musclesense.studies.reading import read_study

_SCRIPT = '''"""Saves a view of the study {study} in wandb: pip install wandb-workspaces; wandb login; python {file}."""

import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

STUDY = {study!r}
REGIONS = {regions!r}


def lines(*names: str) -> wr.LinePlot:
    return wr.LinePlot(title=", ".join(names), x="epoch", y=list(names))


def bars(name: str) -> wr.BarPlot:
    return wr.BarPlot(title=name, metrics=[name])


def table(name: str) -> wr.WeavePanelSummaryTable:
    return wr.WeavePanelSummaryTable(table_name=name)


view = ws.Workspace(
    entity={entity!r} or wandb.Api().default_entity,
    project={project!r},
    name=STUDY,
    sections=[
        ws.Section(name="Validation", is_open=True, panels=[lines("val_dice"), lines("train_loss", "val_loss")]),
        ws.Section(name="Test", is_open=True, panels=[bars(f"test/dice_{{region}}") for region in REGIONS]),
        ws.Section(name="Cases", panels=[table("test/cases"), wr.MediaBrowser(media_keys=["test/overlays"])]),
        ws.Section(name="Study", panels=[table("tables/summary"), table("tables/statistics")]),
    ],
    runset_settings=ws.RunsetSettings(filters=f"Config('study') = '{{STUDY}}'", groupby=[ws.Config("outer")]),
)

if __name__ == "__main__":
    view.save()
    print(view.url)
'''


def write_dashboard(path: Path) -> Path:
    """Write the script of a study beside its report, and give where it is.

    Raises:
        InputError: The folder is no study, or one of its files cannot be understood.
    """
    study = read_study(path)
    file, logger = StudyFolder(path).report.dashboard, study.config.get("logger") or {}
    regions = list((study.config.get("region") or {}).get("regions") or study.regions)
    entity, project = logger.get("entity"), logger.get("project") or "musclesense"
    said = {"study": study.name, "regions": regions, "entity": entity, "project": project, "file": file.name}
    write_text(file, _SCRIPT.format(**said))
    return file
