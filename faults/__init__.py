"""The kinds of fault that a plan's ``do`` can name; entry points of the group ``chaos.faults``."""
