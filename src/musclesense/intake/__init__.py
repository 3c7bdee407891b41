"""From a path that somebody gives to a scan: images are known by their names and by what lies beside them."""

from musclesense import imaging as imaging  # before nibabel, which it keeps from importing pydicom
