"""Recipes: TOML into frozen dataclasses, one a table, each field with its doc line under it."""

import ast
import difflib
import inspect
import itertools
import textwrap
import tomllib
import types
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from pacos.core.errors import PacosError
from pacos.core.files import read_json, read_text


def _key(default: Any, *, unit: str = "", at_least: float | None = None, at_most: float | None = None) -> Any:
    return field(default=default, metadata={"unit": unit, "at_least": at_least, "at_most": at_most})


@dataclass(frozen=True)
class EngineTable:
    """Where replies come from; the same keys serve teacher and judge."""

    engine: Literal["builtin", "http", "local"] = _key("builtin")
    """`builtin` (rule-based, offline), `http` (any OpenAI-compatible server) or `local` (a checkpoint)."""
    base_url: str = _key("")
    """The server's address up to and including its version, such as http://127.0.0.1:8000/v1."""
    model: str = _key("")
    """The model's name as the server knows it."""
    api: Literal["chat", "completions"] = _key("chat")
    """`chat` for today's models, `completions` for the legacy endpoint that text-davinci-003 answered on."""
    api_key_env: str = _key("OPENAI_API_KEY")
    """The environment variable that holds the key; the key itself never stands in a recipe."""
    path: str = _key("")
    """For `local`: a checkpoint folder or a hub name."""
    temperature: float = _key(1.0, at_least=0, at_most=2)
    """Sampling temperature; 0 always takes the likeliest token."""
    top_p: float = _key(1.0, at_least=0, at_most=1)
    """Nucleus sampling: the share of probability kept."""
    max_tokens: int = _key(3072, unit="tokens", at_least=1)
    """The longest reply asked for."""
    max_usd: float | None = _key(None, unit="US dollars", at_least=0)
    """The most that may be spent on this engine in a run; unset means no limit."""
    input_usd_per_mtok: float | None = _key(None, unit="US dollars per million tokens", at_least=0)
    """Price of prompt tokens; unset means the published price of a known model, else 0."""
    cached_input_usd_per_mtok: float | None = _key(None, unit="US dollars per million tokens", at_least=0)
    """Price of prompt tokens that the server had read before; unset means the price of any prompt token."""
    output_usd_per_mtok: float | None = _key(None, unit="US dollars per million tokens", at_least=0)
    """Price of reply tokens; unset means the published price of a known model, else 0."""
    concurrency: int = _key(8, unit="requests", at_least=1)
    """The most requests in flight at once."""
    batch: bool = _key(False)
    """Send requests through the server's Batch API: half the price, answers within a day."""


@dataclass(frozen=True)
class GenerateTable:
    """Instruction data from a teacher."""

    mode: Literal["alpaca", "alpaca-fixed", "self-instruct"] = _key("alpaca-fixed")
    """`alpaca`: the published procedure, defects included; `alpaca-fixed`: mended; `self-instruct`: with instances."""
    prompt: str = _key("")
    """A text file to put before the demonstrations, such as Alpaca's prompt.txt; empty means the mode's own."""
    num_examples: int = _key(1000, unit="examples", at_least=1)
    """How many examples to keep."""
    seed_tasks: str = _key("")
    """A JSON-lines file in Self-Instruct's schema; empty means the 175 that come with pacos."""
    similarity_threshold: float = _key(0.7, unit="ROUGE-L F", at_least=0, at_most=1)
    """An instruction nearer than this to a seed or a kept one is rejected."""
    decontaminate: tuple[str, ...] = _key(())
    """Evaluation sets whose questions must not be given away, beside `evaluate.instructions`, which never may."""
    seed: int = _key(42, at_least=0, at_most=2**63 - 1)
    """Seeds the choice of demonstrations."""


@dataclass(frozen=True)
class LoraTable:
    """Low-rank adapters in place of full fine-tuning."""

    rank: int = _key(16, at_least=1)
    """The adapters' rank."""
    alpha: int = _key(32, at_least=1)
    """Adapters count alpha / rank times."""
    dropout: float = _key(0.0, at_least=0, at_most=0.9)
    """Share of the adapters' inputs dropped in training."""


@dataclass(frozen=True)
class TrainTable:
    """Fine-tuning the base."""

    base: str = _key("pacos-mini")
    """`pacos-mini` (comes with pacos), a checkpoint folder or a hub name."""
    dataset: str = _key("")
    """An Alpaca-format file; empty means the one this run generated."""
    num_epochs: int = _key(3, unit="passes over the data", at_least=1)
    """How often each example is seen."""
    learning_rate: float = _key(2e-5, at_least=0, at_most=1)
    """Peak of the cosine schedule."""
    batch_size: int = _key(128, unit="examples per optimizer step", at_least=1)
    """Examples per optimizer step, whatever their lengths and however many devices."""
    max_length: int = _key(512, unit="tokens", at_least=8)
    """Longer examples are cut at this many tokens."""
    weight_decay: float = _key(0.0, at_least=0, at_most=1)
    """AdamW's decoupled weight decay."""
    warmup_ratio: float = _key(0.03, unit="share of all steps", at_least=0, at_most=1)
    """The share of steps over which the learning rate rises from zero."""
    engine: Literal["pacos", "trainer"] = _key("pacos")
    """`pacos` packs, shares the preamble and shards by FSDP2; `trainer` is Hugging Face's, as the published run's."""
    precision: Literal["auto", "fp32", "bf16", "split"] = _key("auto")
    """`bf16` computes in it over fp32 weights, `split` keeps them as bf16 and a remainder; `auto` chooses."""
    optimizer: Literal["auto", "adamw", "adamw-8bit"] = _key("auto")
    """AdamW with fp32 or 8-bit states; `auto` takes 8-bit ones beside split weights."""
    mode: Literal["alpaca-2023", "modern"] = _key("modern")
    """`alpaca-2023` tokenises, masks and averages as the published run; `modern` masks no answer, averages tokens."""
    lora: LoraTable | None = _key(None)  # noqa: RUF009
    """[train.lora] trains low-rank adapters in place of all weights."""
    share_prefix: bool = _key(True)
    """Computes the prompt's constant preamble once a row, where that is exact."""
    row_tokens: int | None = _key(None, unit="tokens", at_least=64)
    """The most tokens at once, a longer example aside; unset means 4,096 on a CPU, on a GPU 8,192 or as many as fit."""
    track: Literal["", "wandb", "trackio"] = _key("")
    """Sends each step's figures there too; the package has to be installed."""
    max_examples: int | None = _key(None, unit="examples", at_least=1)
    """Train on the first so many examples only."""
    checkpoint_every: int = _key(100, unit="optimizer steps", at_least=1)
    """How often the state is saved, so that a killed run goes on from there."""
    seed: int = _key(42, at_least=0, at_most=2**63 - 1)
    """Seeds the order of examples."""


@dataclass(frozen=True)
class EvaluateTable:
    """Blind comparison of student and base."""

    candidates: tuple[str, ...] = _key(("student",))
    """Models to compare with the baseline: `student`, `base` or a checkpoint folder."""
    baseline: str = _key("base")
    """The model they are compared with: `base`, `student` or a checkpoint folder."""
    instructions: str = _key("")
    """Items to answer: an Alpaca-format or Self-Instruct file; empty means held-out tasks of the builtin teacher."""
    judges: tuple[str, ...] = _key(())
    """Engines that judge, such as "builtin:judge"; empty means the [judge] table."""
    items_per_skill: int = _key(8, unit="items", at_least=1)
    """Held-out items of each builtin skill."""
    seed: int = _key(42, at_least=0, at_most=2**63 - 1)
    """Seeds the held-out items and which answer is shown first."""


@dataclass(frozen=True)
class ServeTable:
    """The public demo."""

    host: str = _key("127.0.0.1")
    """Address to listen on; 0.0.0.0 opens it to the network."""
    port: int = _key(8000, at_least=0, at_most=65535)
    """Port to listen on; 0 takes a free one."""
    model: str = _key("")
    """Checkpoint to serve; empty means the run's student."""
    watermark: bool = _key(True)
    """Marks every answer so that `pacos detect` can find it."""
    moderation: Literal["blocklist", "off"] = _key("blocklist")
    """What looks at input and output before anyone sees it."""
    database: str = _key("")
    """SQLAlchemy URL for reports and accepted terms; empty means serve/store.sqlite in the run folder."""
    terms: str = _key("")
    """A Markdown file with the terms of use; empty means the ones that come with pacos."""


@dataclass(frozen=True)
class Recipe:
    """A whole run, resolved: every key has its value."""

    name: str
    text: str
    teacher: EngineTable
    judge: EngineTable
    generate: GenerateTable
    train: TrainTable
    evaluate: EvaluateTable
    serve: ServeTable

    def table(self, name: str) -> dict[str, Any]:
        """One table as JSON values."""
        values = asdict(getattr(self, name))
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


TABLES: dict[str, type] = {
    "teacher": EngineTable,
    "judge": EngineTable,
    "generate": GenerateTable,
    "train": TrainTable,
    "evaluate": EvaluateTable,
    "serve": ServeTable,
}
# Tables that are a key of another one.
INNER_TABLES: dict[str, type] = {"train.lora": LoraTable}
ALL_TABLES = {**TABLES, **INNER_TABLES}


def load(path: Path | str, overrides: Iterable[str] = ()) -> Recipe:
    """Reads a recipe and lays `table.key=value` overrides over it; PacosError says what cannot be."""
    path = Path(path)
    text = read_text(path, "recipe")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PacosError(f"{path}: not TOML: {error}. A recipe holds [tables] of key = value lines.") from None
    except (RecursionError, ValueError):
        raise PacosError(f"{path}: nested too deep, or a number too long, for a recipe; mend that value.") from None
    return _resolve(path, path.stem, text, document, overrides)


def load_run(run: Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe a run was made with, its overrides included; PacosError where the folder is no run."""
    document = read_json(run / "resolved.json", "resolved recipe that every run folder holds")
    if not isinstance(document, dict) or not all(isinstance(keys, dict) for keys in document.values()):
        raise PacosError(
            f"{run / 'resolved.json'}: not the recipe that pacos wrote there; put the file back as it was."
        )
    known = {
        table: {key: value for key, value in keys.items() if value is not None} for table, keys in document.items()
    }
    text = read_text(run / "recipe.toml", "recipe that every run folder holds")
    return _resolve(run / "resolved.json", run.name, text, known, overrides)


def _resolve(path: Path, name: str, text: str, document: dict[str, Any], overrides: Iterable[str]) -> Recipe:
    tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
    for table, values in document.items():
        _check_name(str(path), table, TABLES, "table")
        if not isinstance(values, dict):
            raise PacosError(f"{path}: '{table}' is a value; expected a table, written [{table}].")
        for key, value in values.items():
            tables[table][key] = _checked(str(path), table, key, value)
    for override in overrides:
        table, key, value = _parse_override(override)
        checked = _checked(f"override {table}.{key}", table, key, value)
        outer, _, inner = table.partition(".")
        if inner:
            checked = replace(tables[outer].get(inner) or INNER_TABLES[table](), **{key: checked})
        tables[outer][inner or key] = checked
    return Recipe(name=name, text=text, **{name: TABLES[name](**values) for name, values in tables.items()})


def _parse_override(override: str) -> tuple[str, str, Any]:
    name, equals, raw = override.partition("=")
    table, dot, key = name.rpartition(".")
    if not equals or not dot:
        raise PacosError(f"override {override!r}: expected table.key=value, such as train.num_epochs=1.")
    # The value stays out of every error about a name: it may be a key typed in the wrong place.
    where = f"override {name}"
    _check_name(where, table, ALL_TABLES, "table")
    _check_name(where, key, _field_names(ALL_TABLES[table]), "key", f"{table}.")
    if get_type_hints(ALL_TABLES[table])[key] is str:
        return table, key, raw
    try:
        return table, key, tomllib.loads(f"value = {raw}")["value"]
    except (RecursionError, ValueError):
        return table, key, raw


def _field_names(table: type) -> list[str]:
    return [f.name for f in fields(table)]


def _check_name(where: str, name: str, known: Iterable[str], kind: str, prefix: str = "") -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"did you mean '{prefix}{near[0]}'?" if near else f"expected one of: {', '.join(sorted(known))}."
    raise PacosError(f"{where}: unknown {kind} '{prefix}{name}'; {hint}")


def _checked(where: str, table: str, key: str, value: Any) -> Any:
    cls = ALL_TABLES[table]
    _check_name(where, key, _field_names(cls), "key", f"{table}.")
    hint = get_type_hints(cls)[key]
    spec = next(f for f in fields(cls) if f.name == key)
    name = f"{table}.{key}"
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, dict) and name in INNER_TABLES:
        value = INNER_TABLES[name](**{inner: _checked(where, name, inner, each) for inner, each in value.items()})
    if isinstance(value, int) and not isinstance(value, bool) and _accepts(hint, float) and not _accepts(hint, int):
        value = float(value)
    if isinstance(value, str):
        _check_text(where, name, value)
    if not _fits(hint, value):
        near = difflib.get_close_matches(str(value), [str(v) for v in get_args(hint)], n=1)
        nearest = f"; did you mean {near[0]!r}?" if near else "."
        shown = list(value) if isinstance(value, tuple) else value
        raise PacosError(f"{where}: {name} is {shown!r}; expected {describe(hint)}{nearest}")
    low, high = spec.metadata["at_least"], spec.metadata["at_most"]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if low is not None and not value >= low:
            raise PacosError(f"{where}: {name} is {value}; expected at least {low}.")
        if high is not None and not value <= high:
            raise PacosError(f"{where}: {name} is {value}; expected at most {high}.")
    return value


def _check_text(where: str, name: str, value: str) -> None:
    if "\0" in value:
        raise PacosError(f"{where}: {name} holds a NUL character; remove it.")
    if name.endswith(".api_key_env") and not value.isidentifier():
        raise PacosError(
            f"{where}: {name} is no variable's name; expected one such as OPENAI_API_KEY, which holds the key."
        )
    if "://" not in value:
        return
    try:
        address = urlsplit(value)
        secret = bool(address.password) or (name.endswith(".base_url") and bool(address.query))
    except ValueError as error:
        raise PacosError(
            f"{where}: {name} is no address ({error}); expected one such as http://host:8000/v1."
        ) from None
    if secret:
        raise PacosError(
            f"{where}: {name} holds a password or a query, and a recipe is copied into its run; leave it out of the "
            "address. A key goes into the variable that api_key_env names, PostgreSQL's password into PGPASSWORD."
        )


def _accepts(hint: Any, kind: type) -> bool:
    return hint is kind or (get_origin(hint) in (types.UnionType, Union) and kind in get_args(hint))


def _fits(hint: Any, value: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint) and isinstance(value, str)
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(isinstance(v, str) for v in value)
    if get_origin(hint) in (types.UnionType, Union):
        return any(_fits(option, value) for option in get_args(hint))
    return type(value) is hint


def describe(hint: Any) -> str:
    """A type in the words of a recipe's reader."""
    if get_origin(hint) is Literal:
        return " or ".join(f'"{value}"' for value in get_args(hint))
    if get_origin(hint) is tuple:
        return 'a list of texts, such as ["one", "two"]'
    if get_origin(hint) in (types.UnionType, Union):
        return " or ".join(describe(option) for option in get_args(hint) if option is not types.NoneType)
    if hint in INNER_TABLES.values():
        return "a table"
    return {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[hint]


@cache
def doc_lines(table: type) -> dict[str, str]:
    """Field name -> the doc line under it, read from the source: Python keeps no docstring of a field."""
    body = ast.parse(textwrap.dedent(inspect.getsource(table))).body[0].body  # type: ignore[attr-defined]
    lines = {}
    for statement, following in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            lines[ast.unparse(statement.target)] = ast.literal_eval(following.value)
    return lines


def explain(name: str) -> str:
    """A key's doc line, type, default and unit; a table's name explains all of its keys, a bare key each table's."""
    if name in TABLES:
        return "\n\n".join(explain(f"{name}.{f.name}") for f in fields(TABLES[name]))
    table, _, key = name.rpartition(".")
    owners = [each for each, cls in ALL_TABLES.items() if key in _field_names(cls)]
    if owners and not table:
        return "\n\n".join(explain(f"{owner}.{key}") for owner in owners)
    _check_name("explain", table or key, ALL_TABLES, "table")
    cls = ALL_TABLES[table]
    _check_name("explain", key, _field_names(cls), "key", f"{table}.")
    spec = next(f for f in fields(cls) if f.name == key)
    # As a recipe spells it.
    shown = str(spec.default).lower() if isinstance(spec.default, bool) else repr(spec.default)
    default = "unset" if spec.default in (None, MISSING) else shown
    if spec.default in ("", ()):
        default = "empty"
    unit = f"\n  unit: {spec.metadata['unit']}" if spec.metadata["unit"] else ""
    told = f"{name}: {doc_lines(cls)[key]}\n  expects: {describe(get_type_hints(cls)[key])}\n  default: {default}{unit}"
    inner = [explain(f"{name}.{f.name}") for f in fields(INNER_TABLES[name])] if name in INNER_TABLES else []
    return "\n\n".join([told, *inner])
