"""The local engine: a Hugging Face checkpoint on this machine."""

from pacos.engines.local.engine import LocalEngine

__all__ = ["LocalEngine"]
