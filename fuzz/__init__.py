"""Bad input by the thousand: what a command may not do, whatever it is given. ``make fuzz`` runs it."""
