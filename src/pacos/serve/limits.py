"""How often one API key or session, and one address, may do what: (at once, a minute in the long run)."""

from pacos.web.limits import Limit


class Limits:
    """Those of one server; docs/serve.md has the table."""

    def __init__(self) -> None:
        # On the page and by the API alike: who may ask by one may ask by the other.
        self.questions = Limit(session=(20, 20), address=(60, 60))
        # Harnesses tokenize each of their prompts.
        self.tokenizing = Limit(session=(200, 600), address=(400, 1200))
        self.reports = Limit(session=(5, 2), address=(15, 6))
        # A code has 80 bits; this spares the database.
        self.deletions = Limit(session=(10, 10), address=(10, 10))
        self.shares = Limit(session=(5, 2), address=(15, 6))
        self.keys = Limit(session=(10, 2), address=(20, 4))
        # Who knows green from not green can forge the mark with patience.
        self.detections = Limit(session=(10, 6), address=(20, 12))
