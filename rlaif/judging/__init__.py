"""Judging: what a judge is asked, how its answers are read, and how they become z."""
