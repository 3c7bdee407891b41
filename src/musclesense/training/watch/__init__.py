"""What shows how a training goes: bars, lines, wandb."""
