"""A cohort and a study, as the tests of segmenting have them."""

from ..segmentation.conftest import cohort as cohort
from ..segmentation.conftest import limbs as limbs
from ..segmentation.conftest import run as run
from ..segmentation.conftest import study as study
