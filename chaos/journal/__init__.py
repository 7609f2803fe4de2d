"""What happened, written as it happens; every report is rendered from it alone."""

from chaos.journal.journal import Journal, Round, ServiceLog, Trial

__all__ = ["Journal", "Round", "ServiceLog", "Trial"]
