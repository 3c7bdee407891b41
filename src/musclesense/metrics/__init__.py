"""How well a mask fits: overlap.py (Dice, surface distance, volume) and fat_fraction.py (mean in a mask)."""
