"""Speed on the machine at hand; never a test."""
