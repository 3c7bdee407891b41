"""How fast and how good it is on the machine at hand: speed and validity; never a test."""
