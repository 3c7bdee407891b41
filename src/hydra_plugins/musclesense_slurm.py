"""``hydra/launcher=slurm``. Hydra takes launchers from the package ``hydra_plugins`` alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra_plugins.hydra_submitit_launcher import submitit_launcher
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf


@dataclass
class SlurmConf(SlurmQueueConf):  # type: ignore[misc]  # untyped
    """What the launcher can be told: all of submitit's, and how it waits."""

    wait: bool = True
    look_every_s: float = 20.0


ConfigStore.instance().store(group="hydra/launcher", name="slurm_schema", node=SlurmConf, provider="musclesense")


class SlurmLauncher(submitit_launcher.SlurmLauncher):  # type: ignore[misc]  # untyped
    """Submitit's launcher that sends only what is left to do, and waits until every run has ended, well or not."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Do the runs of a sweep as jobs of an array."""
        from musclesense.launch import slurm

        return slurm.launch(self, job_overrides, initial_job_idx)
