"""Fat and water from three gradient echoes."""
