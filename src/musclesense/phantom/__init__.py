"""A cohort from nothing: anatomy, disease, signal, generate."""
