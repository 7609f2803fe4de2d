"""The reference control plane as processes of this machine."""
