"""Waiting: when to look, what a look means, and how many share one."""
