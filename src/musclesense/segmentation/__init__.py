"""From a trained network to a mask in scanner space."""
