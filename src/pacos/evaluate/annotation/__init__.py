"""A blind study with people: they see two answers without a name, and nobody sees a result before it is closed."""
