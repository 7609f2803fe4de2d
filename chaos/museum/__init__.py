"""The museum: every bug switch, and the plans that catch it."""
