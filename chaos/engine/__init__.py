"""A plan on a target, round by round."""
