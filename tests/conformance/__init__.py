"""The reference judged by clients that were written for the real OpenStack."""
