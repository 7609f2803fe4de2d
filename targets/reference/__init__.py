"""The reference control plane: an OpenStack-shaped cloud of separate services.

An application of its own that knows nothing of the framework which strikes it.
"""
