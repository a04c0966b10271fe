"""What a reply costs: the recipe's prices first, then the published price of a known model, else nothing."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from genai_prices import Usage as PricedUsage
from genai_prices import calc_price

from pacos.core.errors import PacosError
from pacos.core.recipe import EngineTable
from pacos.engines.types import Request

_MTOK = 1_000_000
# Tokens that a chat template may add around a prompt.
_TEMPLATE_TOKENS = 64
BATCH_DISCOUNT = 0.5


def is_loopback(base_url: str) -> bool:
    """Whether the address is this machine's own."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Prices:
    """Dollars for one engine table's model; a batch's are half the ordinary ones."""

    def __init__(self, table: EngineTable) -> None:
        if table.cached_input_usd_per_mtok is not None and table.input_usd_per_mtok is None:
            raise PacosError(
                f"cached_input_usd_per_mtok is {table.cached_input_usd_per_mtok:g} and input_usd_per_mtok is unset; "
                "set both, or neither for the published prices of a known model."
            )
        self._table = table
        self._factor = BATCH_DISCOUNT if table.batch else 1.0
        own = (table.input_usd_per_mtok, table.output_usd_per_mtok)
        self._is_own = own != (None, None)
        is_published = (
            table.engine == "http" and not is_loopback(table.base_url) and self._published(1, 0, 0) is not None
        )
        if is_published and self._is_own and None in own:
            raise PacosError(
                f"one of input_usd_per_mtok and output_usd_per_mtok is set and the other is not; set both, or neither "
                f"for the published prices of {table.model}."
            )
        self.known = is_published or self._is_own
        """Whether any price is known; without one every cost is 0."""

    def usd(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """The cost of one reply in US dollars; `cached_tokens` are those of the prompt the server had already read."""
        table = self._table
        if not self._is_own:
            usd = self._published(prompt_tokens, completion_tokens, cached_tokens) if self.known else None
            return self._factor * (usd or 0.0)
        input_usd, output_usd = table.input_usd_per_mtok or 0.0, table.output_usd_per_mtok or 0.0
        cached_usd = input_usd if table.cached_input_usd_per_mtok is None else table.cached_input_usd_per_mtok
        cached = min(cached_tokens, prompt_tokens)
        prompt_usd = (prompt_tokens - cached) * input_usd + cached * cached_usd
        return self._factor * (prompt_usd + completion_tokens * output_usd) / _MTOK

    def worst_case_usd(self, request: Request) -> float:
        """An upper bound of a request's cost: no token is shorter than a byte, no reply longer than its limit."""
        prompt = request.prompt
        texts = [prompt] if isinstance(prompt, str) else [message.content for message in prompt]
        prompt_tokens = sum(len(text.encode()) + _TEMPLATE_TOKENS for text in texts)
        worst = self.usd(prompt_tokens, request.sampling.max_tokens)
        # Whoever prices what was read before above what was not is taken at that word too.
        return max(worst, self.usd(prompt_tokens, request.sampling.max_tokens, prompt_tokens))

    def _published(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int) -> float | None:
        usage = PricedUsage(
            input_tokens=prompt_tokens,
            output_tokens=completion_tokens,
            cache_read_tokens=min(cached_tokens, prompt_tokens),
        )
        try:
            return float(calc_price(usage, self._table.model, provider_api_url=self._table.base_url).total_price)
        except LookupError:
            return None
