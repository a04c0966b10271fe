"""The whole Alpaca recipe as one tool: generate, train, evaluate, release, serve."""

__version__ = "0.1.0"
