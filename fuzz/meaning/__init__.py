"""Well-formed inputs that mean something else than usual, each with its known right answer."""
