"""Bodies, their limbs, and cross-sections of them."""
