"""Placement service: providers, inventories and the allocations that consumers hold."""
