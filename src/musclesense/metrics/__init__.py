"""How well a mask fits (overlap.py, case.py), the fat fraction in it, and the fat outside it (depots.py)."""
