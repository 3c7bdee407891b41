"""``musclesense phantom``: a cohort from nothing."""

import argparse

from musclesense.phantom.cohorts import generate


def run(options: argparse.Namespace) -> None:
    """Make a phantom cohort and name its table."""
    made = generate.generate(
        options.out,
        preset=options.preset,
        seed=options.seed,
        workers=options.workers,
        slices=options.slices,
        label_all=options.label_all,
    )
    print(made)
