"""Waiting: when to look, what a poll means, and how many share one."""
