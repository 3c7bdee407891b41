"""nnU-Net's raw data sets: written from a cohort with its folds, and read into one."""
