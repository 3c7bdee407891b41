"""From anatomy and disease to the images that a scanner stores."""
