"""Images: files and their geometry, the body, the grid, the frame of networks, limbs and labels."""
