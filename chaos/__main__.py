"""``python -m chaos`` is the command ``chaos``."""

from chaos.cli import main

main()
