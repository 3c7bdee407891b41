"""Images: files and their geometry, the body, the grid, the frame of networks, limbs and labels."""

import sys

# nibabel imports pydicom, for an extension of NIfTI that this project does not read: that takes longer than nibabel.
if "nibabel" not in sys.modules and "pydicom" not in sys.modules:
    sys.modules["pydicom"] = None  # type: ignore[assignment]
    try:
        import nibabel  # noqa: F401
    finally:
        del sys.modules["pydicom"]
