"""A cohort from nothing: anatomy, disease and the signal of scanners; and slices for networks that meet any scanner."""
