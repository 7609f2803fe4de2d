"""Volume service: volumes and their attachments, after Cinder v3."""
