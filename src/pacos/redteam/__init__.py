"""Red teaming: attacks on one's own model, and what was found kept as cases."""
