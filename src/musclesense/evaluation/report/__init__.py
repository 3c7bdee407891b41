"""What a study says: tables.py (aggregated scores), figures.py, overlays.py (masks on scans), page.py (HTML)."""
