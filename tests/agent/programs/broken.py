"""Can be found but not be imported."""

1 / 0  # noqa: B018 - it is there to fail


class Lost(Exception):
    """Nobody ever gets it."""
