"""A small system with every hard habit: transients, locks, casts, a timer and a recovery."""
