"""A system of no cloud: money is moved between accounts by two services."""
