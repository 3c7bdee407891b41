"""Networks: their specification, their names, their weights, and how they predict."""
