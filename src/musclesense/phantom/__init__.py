"""A cohort from nothing: templates, texture, anatomy, disease, signal, presets, generate, contact_sheet."""
