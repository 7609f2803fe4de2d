"""Sweep: crash each service before and after everything that it does in one run, one at a time."""
