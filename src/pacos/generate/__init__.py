"""generate: instruction data from a teacher, filtered, deduplicated and accounted for."""
