"""The links between services, each through a proxy of toxiproxy, which can disturb it."""
