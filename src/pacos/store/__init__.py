"""One way to open a database, SQLite or any that SQLAlchemy speaks, and to bring its tables up to date."""
