"""Votes from other tools in, and answers and votes for other tools out."""
