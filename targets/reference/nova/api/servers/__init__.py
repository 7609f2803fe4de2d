"""Servers and what belongs to one: its actions, volumes, metadata, tags."""
