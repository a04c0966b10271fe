"""Audits: stated objectives put to a target, each with a number, its denominator and its interval."""
