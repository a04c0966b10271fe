"""The http engine: any OpenAI-compatible server, chat and legacy completions."""

from pacos.engines.http.batch import BatchEngine
from pacos.engines.http.http_engine import HttpEngine
from pacos.engines.http.moderations import ModerationsEngine

__all__ = ["BatchEngine", "HttpEngine", "ModerationsEngine"]
