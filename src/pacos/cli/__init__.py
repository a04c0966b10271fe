"""The command line: verbs to stages."""
