"""What trains: accelerator, precision, devices, compilation."""
