"""From a trained network to a mask in scanner space, and to what is measured in it."""
