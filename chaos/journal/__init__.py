"""What happened, written as it happens; every report is rendered from it alone."""

from chaos.journal.group import Group, grouped
from chaos.journal.journal import Journal, Round, ServiceLog, Trial

__all__ = ["Group", "Journal", "Round", "ServiceLog", "Trial", "grouped"]
