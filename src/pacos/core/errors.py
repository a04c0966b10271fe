"""The one error a user may see."""


class PacosError(Exception):
    """Bad input or a bad machine, said in one line: what was read, where, what was expected, what to do.

    The command line prints the line and exits with 2. Any other exception is a bug and keeps its traceback.
    """
