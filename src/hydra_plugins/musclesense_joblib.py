"""What ``hydra/launcher=joblib`` becomes. Hydra takes launchers from the package ``hydra_plugins`` alone."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra_plugins.hydra_joblib_launcher import joblib_launcher


class JoblibLauncher(joblib_launcher.JoblibLauncher):  # type: ignore[misc]  # untyped
    """Hydra's launcher of runs side by side that goes on where the system kills a process of theirs."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Do the runs of a sweep in processes of this machine."""
        from musclesense.launch import workers

        return workers.launch(self, super().launch, job_overrides, initial_job_idx)
