"""Nothing is left behind: the undo log, the reaper, the audit of residue."""
