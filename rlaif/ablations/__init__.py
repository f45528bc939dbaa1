"""Ablations: one thing varied, everything shared computed once, and one table with an interval on every number."""
