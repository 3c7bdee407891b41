"""Images of a scanner's DICOM folder, told apart by their tags."""
