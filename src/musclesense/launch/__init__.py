"""From a command line to the runs of one or more studies."""
