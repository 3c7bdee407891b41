"""How close the phantom and the separation of fat and water come to what is known."""
