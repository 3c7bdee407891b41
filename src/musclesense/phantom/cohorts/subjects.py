"""Who is in a phantom cohort, and when each subject comes to be scanned: nothing random, nothing drawn."""

from dataclasses import dataclass

from musclesense.phantom.cohorts.presets import BOTH_REGIONS, WEEKS_A_YEAR, WEEKS_TO_RETEST, Group, Preset
from musclesense.vocabulary import Region

_GOLDEN = 0.6180339887


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A session: its number from 1, the weeks since the first one, and the regions that are scanned."""

    session: int
    weeks: int
    regions: tuple[Region, ...]

    @property
    def name(self) -> str:
        """Name in the table and of the folder."""
        return f"ses-{self.session}"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Who a subject is before anything is drawn."""

    index: int  # position in the cohort, from 0: with the cohort's seed it fixes everything random
    group: Group
    severity: tuple[float, float]  # lowest and highest severity of this subject at the first visit
    visits: tuple[Visit, ...]

    @property
    def name(self) -> str:
        """Name in the table and of the folder."""
        return f"sub-{self.index + 1:03d}"


def list_subjects(preset: Preset) -> list[Subject]:
    """List the subjects of a cohort; severities of a group spread evenly over its range."""
    subjects: list[Subject] = []
    for group in preset.groups:
        low, high = group.severity
        step = (high - low) / group.subjects
        # Those who come again are spread over the severities.
        order = sorted(range(group.subjects), key=lambda number: (number * _GOLDEN) % 1)
        for number in range(group.subjects):
            index = len(subjects)
            regions = (BOTH_REGIONS[index % 2],) if preset.alternate else BOTH_REGIONS
            subjects.append(
                Subject(
                    index=index,
                    group=group,
                    severity=(low + step * number, low + step * (number + 1)),
                    visits=_visits(group, regions, order.index(number)),
                )
            )
    return subjects


def _visits(group: Group, regions: tuple[Region, ...], rank: int) -> tuple[Visit, ...]:
    """Give the visits of the subject that is ``rank``-th to come again."""
    times = [(0, regions)]
    if rank < group.retested:
        times.append((WEEKS_TO_RETEST, regions))
    years = max((len(counts) for counts in group.followed.values()), default=0)
    for year in range(years):
        again = tuple(region for region in regions if rank < sum(group.followed.get(region, ())[year : year + 1]))
        if again:
            times.append(((year + 1) * WEEKS_A_YEAR, again))
    return tuple(
        Visit(session=number, weeks=weeks, regions=where) for number, (weeks, where) in enumerate(times, start=1)
    )
