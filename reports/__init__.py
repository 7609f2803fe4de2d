"""Renderers: a journal in, a file out. Each is ``render(journal, output)``."""
