"""A segmented scan as a DICOM segmentation, where it was read from DICOM and that was asked for."""

import tempfile
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from musclesense.errors import ArgumentError
from musclesense.imaging.labels import LabelSet
from musclesense.segmentation.measured import SEGMENTATION, Writer
from musclesense.segmentation.result import Segmentation
from musclesense.segmentation.scan import DICOM, Scan


def require_dicom_seg(anonymous: bool, scan: Scan | None = None) -> None:
    """Refuse to write DICOM segmentations where they cannot be, before the work.

    Args:
        anonymous: Whether results must not tell who is shown.
        scan: What will be segmented, where it is one.

    Raises:
        ArgumentError: They must not, the scan is not of DICOM, or a package is missing.
    """
    if anonymous:
        said = "holds the patient's name and number, as DICOM does; leave out {anonymous} or it"
        raise ArgumentError(f"{{dicom_seg}}: {said}", dicom_seg="", anonymous="")
    if find_spec("highdicom") is None:
        said = "its package is not installed; pip install 'musclesense[dicom]'"
        raise ArgumentError(f"{{dicom_seg}}: {said}", dicom_seg="")
    if scan is None:
        return
    if DICOM not in scan.files:
        raise ArgumentError("{dicom_seg}: goes with a scan that is DICOM; leave it out", dicom_seg="")
    from musclesense.dicom.segmentation import write_segmentation  # takes long to import

    nothing, muscle = np.zeros(scan.geometry.shape, np.uint8), LabelSet.from_config({"muscle": []})
    with tempfile.TemporaryDirectory() as folder:  # as a trial
        write_segmentation(Path(folder) / SEGMENTATION, scan.files[DICOM], nothing, scan.geometry, muscle, "none")


def dicom_seg(made: Segmentation) -> Mapping[str, Writer]:
    """Give what writes the DICOM segmentation of a scan, by the name of its file; nothing where it is not of DICOM."""
    if (source := made.scan.files.get(DICOM)) is None:
        return {}
    from musclesense.dicom.segmentation import write_segmentation

    return {
        SEGMENTATION: partial(
            write_segmentation,
            source=source,
            classes=made.classes,
            geometry=made.geometry,
            labels=made.spec.labels,
            network=made.network,
        )
    }
