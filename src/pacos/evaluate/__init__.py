"""Blind comparison: candidates and baseline answer the same held-out items, and judges see only the answers."""
