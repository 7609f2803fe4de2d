"""Runs a topology as containers of a Docker engine, and the reference control plane so."""
