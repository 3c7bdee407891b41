"""Cases brought together: one row for each acquisition and label, over the networks that tested it.

A slice that five networks tested is five cases, which are alike. What is said of a study as a whole is said of its
acquisitions: first the mean of each over its networks, then means over acquisitions.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from musclesense.metrics.case import COLUMNS, Case

if TYPE_CHECKING:
    from pandas import DataFrame

WHOSE = ["line", "subject", "session", "group", "region", "label"]
NETWORK = ["outer", "inner"]
_MASKS = {"true": "fn", "predicted": "fp"}


def case_frame(cases: Iterable[Case]) -> "DataFrame":
    """Give cases as a table, a row each, with the columns of `Case` and ``missed``; NaN where a measure is None.

    ``missed``: nothing is predicted, though the truth is not empty.
    """
    from pandas import DataFrame  # takes long to import

    frame = DataFrame(map(vars, cases), columns=list(COLUMNS))
    measures = [name for name, column in COLUMNS.items() if column.measure is not None]
    frame = frame.astype(dict.fromkeys(measures, float))
    frame["missed"] = (frame.tp + frame.fp == 0) & (frame.fn > 0)
    return frame


def by_network(cases: "DataFrame") -> "DataFrame":
    """Bring the slices of each acquisition together, for each network: columns `WHOSE`, `NETWORK` and these.

    - ``dice``, ``hd95_mm``, ``asd_mm``: mean over its slices; a distance is the slice's diagonal where one mask is
      empty, so that no missed slice is left out.
    - ``volume_true_ml``, ``volume_predicted_ml``: sum over its slices.
    - ``fat_fraction_true``, ``fat_fraction_predicted`` and the same with ``measured_`` in front: mean over its slices,
      by their voxels.
    - ``slices``, ``missed``: how many there are, and of how many nothing is predicted.
    """
    means = {"dice": cases.dice, "hd95_mm": cases.hd95_penalised_mm, "asd_mm": cases.asd_penalised_mm}
    sums = dict[str, Any](missed=cases.missed, slices=1)
    for mask, other in _MASKS.items():
        sums[f"volume_{mask}_ml"] = cases[f"volume_{mask}_ml"]
        for name in (f"fat_fraction_{mask}", f"measured_fat_fraction_{mask}"):
            fraction = cases[f"{name}_mask"]
            sums[f"{name}_of"] = (cases.tp + cases[other]).where(fraction.notna())
            sums[name] = fraction * sums[f"{name}_of"]
    weighed = cases[[*WHOSE, *NETWORK]].assign(**means, **sums).groupby([*WHOSE, *NETWORK], sort=False)
    found = weighed[[*means]].mean().join(weighed[[*sums]].sum(min_count=1))
    for name in [name for name in sums if f"{name}_of" in sums]:
        found[name] = found[name] / found.pop(f"{name}_of")
    return found.reset_index()


def by_acquisition(networks: "DataFrame") -> "DataFrame":
    """Give the mean over the networks that tested each acquisition and label, and of their numbers the sum.

    Beside the columns of `by_network`, ``networks``: how many they are; and what the masks differ by, predicted minus
    true: ``volume_error_ml``, ``volume_error_percent``, ``fat_fraction_error`` (points).
    """
    measures = networks.columns.difference([*WHOSE, *NETWORK, "slices", "missed"])
    columns = {name: (name, "mean") for name in measures}
    counts = {"networks": ("inner", "size"), "slices": ("slices", "max"), "missed": ("missed", "sum")}
    found = networks.groupby([*WHOSE, "outer"], sort=False).agg(**counts, **columns).reset_index()
    found["volume_error_ml"] = found.volume_predicted_ml - found.volume_true_ml
    true = found.volume_true_ml.where(found.volume_true_ml > 0)
    found["volume_error_percent"] = 100 * found.volume_error_ml / true
    found["fat_fraction_error"] = found.fat_fraction_predicted - found.fat_fraction_true
    return found
