"""Holds a function by name from before it is armed."""

from shop import plain

table = {"plain": plain}


def through_name(value):
    return plain(value)


def through_table(value):
    return table["plain"](value)
