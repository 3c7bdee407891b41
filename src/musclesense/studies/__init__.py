"""A study on disk: its layout, its identity, its writer and its reader."""
