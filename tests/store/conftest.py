"""Databases to test on."""

from tests.servers.postgres import database_url, postgres

__all__ = ["database_url", "postgres"]
