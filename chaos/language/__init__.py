"""From the text of a plan to a plan whose every word is known."""
