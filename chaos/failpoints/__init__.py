"""Where faults strike: the controller arms points in the services and collects what struck.

What lives inside the services is the agent, :mod:`chaos.agent`.
"""
