"""Recipes: TOML into frozen dataclasses, one a table, each field with its doc line under it."""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pacos.core.errors import PacosError
from pacos.core.files import read_json, read_text
from pacos.core.keys import check_name, checked, names_of
from pacos.core.keys import key as _key
from pacos.core.models import SHORT_NAMES


@dataclass(frozen=True)
class EngineTable:
    """Where replies come from; the same keys serve teacher and judge."""

    engine: Literal["builtin", "http", "local"] = _key("builtin")
    """`builtin` (rule-based, offline), `http` (any OpenAI-compatible server) or `local` (a checkpoint)."""
    base_url: str = _key("", free=True)
    """The server's address up to and including its version, such as http://127.0.0.1:8000/v1."""
    model: str = _key("")
    """The model's name as the server knows it."""
    api: Literal["chat", "completions"] = _key("chat")
    """`chat` for today's models, a local one's by its chat template; `completions` for raw text and the legacy endpoint
    that text-davinci-003 answered on."""
    api_key_env: str = _key("OPENAI_API_KEY", free=True)
    """The environment variable that holds the key; the key itself never stands in a recipe."""
    path: str = _key("")
    """For `local`: a model as `train.base` names one."""
    weights: Literal["auto", "int8"] = _key("auto")
    """For `local`: how matrices are held; `int8` rounds them and what they multiply to 8 bits, a little less exact."""
    prompt: str | None = _key(None)
    """Of a judge: what it is shown and how it is read, `pairwise`, `letter` or a folder; unset means `pairwise`."""
    temperature: float = _key(1.0, at_least=0, at_most=2)
    """Sampling temperature; 0 always takes the likeliest token."""
    top_p: float = _key(1.0, at_least=0, at_most=1)
    """Nucleus sampling: the share of probability kept."""
    max_tokens: int = _key(3072, unit="tokens", at_least=1)
    """The longest reply asked for."""
    max_usd: float | None = _key(None, unit="US dollars", at_least=0, free=True)
    """The most that may be spent on this engine in a run; unset means no limit."""
    input_usd_per_mtok: float | None = _key(None, unit="US dollars per million tokens", at_least=0, free=True)
    """Price of prompt tokens; unset means the published price of a known model, else 0."""
    cached_input_usd_per_mtok: float | None = _key(None, unit="US dollars per million tokens", at_least=0, free=True)
    """Price of prompt tokens that the server had read before; unset means the price of any prompt token."""
    output_usd_per_mtok: float | None = _key(None, unit="US dollars per million tokens", at_least=0, free=True)
    """Price of reply tokens; unset means the published price of a known model, else 0."""
    concurrency: int = _key(8, unit="requests", at_least=1, free=True)
    """The most requests in flight at once; a local engine takes up to 32, as far as memory goes."""
    batch: bool = _key(False, free=True)
    """Send requests through the server's Batch API: half the price, answers within a day."""
    keep_raw: bool = _key(False, free=True)
    """Keep each call's raw request and response in the ledger, compressed, secrets masked."""


@dataclass(frozen=True)
class GenerateTable:
    """Instruction data from a teacher."""

    mode: Literal["alpaca", "alpaca-fixed", "self-instruct"] = _key("alpaca-fixed")
    """`alpaca`: the published procedure, defects included; `alpaca-fixed`: mended; `self-instruct`: with instances."""
    prompt: str = _key("")
    """A text file to put before the demonstrations, such as Alpaca's prompt.txt; empty means the mode's own."""
    num_examples: int = _key(1000, unit="examples", at_least=1, free_until_done=True)
    """How many examples to keep."""
    seed_tasks: str = _key("")
    """A data file in Self-Instruct's schema; empty means the 175 that come with pacos."""
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
    """`pacos-mini` (comes with pacos), a name or GGUF file of `pacos fetch`, a checkpoint folder or a hub name."""
    dataset: str = _key("")
    """Records or conversations (JSON, JSON Lines, CSV; Parquet with pacos[parquet]); empty: what this run generated."""
    parse_special_tokens: bool = _key(False)
    """Makes control ids of special tokens such as </s> that stand in texts, as the published run did."""
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
    row_tokens: int | None = _key(None, unit="tokens", at_least=64, free_until_done=True)
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
    """What to compare with the baseline: `student`, `base`, a model as `train.base` names one, an [engines.NAME], or a
    file (.json, .jsonl) of published answers: Self-Instruct's predictions or AlpacaEval's model outputs."""
    baseline: str = _key("base")
    """What they are compared with, named as a candidate is."""
    instructions: str = _key("")
    """Items to answer: a data file or Self-Instruct's; empty means held-out tasks of the builtin teacher."""
    references: str = _key("")
    """Answers to hold those to `instructions` against by ROUGE-L: a data file, or Self-Instruct's predictions
    with a `response`; empty means the ones that stand in `instructions`."""
    max_tokens: int | None = _key(None, unit="tokens", at_least=1)
    """Where candidates' answers are cut; unset means twice the longest right answer, or a server's own limit."""
    multiple_choice: str = _key("")
    """Questions to answer by the likeliest of their choices: `builtin` for the 120 that come with pacos, or a data file
    with question, choices and answer (the right one's place from 0 on); empty means none."""
    perplexity: tuple[str, ...] = _key(())
    """Texts to measure perplexity on: text files, or `held-out` for the examples that training kept back."""
    memorisation: int = _key(0, unit="examples", at_least=0)
    """So many training examples, drawn at random, are begun for the models to write on; 0 means none."""
    judges: tuple[str, ...] = _key(())
    """Engines that judge: the NAME of an [engines.NAME], "builtin:judge" or "http:BASE_URL"; empty means [judge]."""
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
    """The model to serve, as `train.base` names one; empty means the run's student."""
    engine: str = _key("")
    """An [engines.NAME] whose server runs the model, such as vLLM, by `engine` http and `api` completions; empty means
    this process. `model` or the run's student still gives tokenizer and name."""
    compare: str = _key("")
    """A second model to answer beside the first on the page, named as `train.base` is, or `base`; empty means none."""
    watermark: bool = _key(True)
    """Marks every answer so that `pacos detect` can find it."""
    moderation: tuple[str, ...] | str = _key("blocklist")
    """What looks at input and output before anyone sees it, one or several in a row: `blocklist`, `openai`, or a guard
    model on an [engines.NAME], `llama-guard:NAME`, `qwen3guard:NAME` or `shieldgemma:NAME`; `off` for nothing."""
    database: str = _key("")
    """SQLAlchemy URL for reports and accepted terms; empty means serve/store.sqlite in the run folder."""
    terms: str = _key("")
    """A Markdown file with the terms of use; empty means the ones that come with pacos."""
    api_keys: Literal["optional", "required"] = _key("optional")
    """Whether /v1 answers without a key; visitors who accepted the terms get theirs at /keys."""
    trusted_proxies: tuple[str, ...] = _key(("127.0.0.1", "::1"))
    """Addresses and networks, such as 10.0.0.0/8, of the proxies whose X-Forwarded-For, Forwarded or X-Real-IP is
    believed."""
    review_password_env: str = _key("PACOS_REVIEW_PASSWORD")
    """Environment variable that holds the password of /review; where it is unset there is no such page."""


MODEL_NAMES = ("student", "base", *SHORT_NAMES)
ENGINE_KINDS = ("builtin", "http", "local")


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
    engines: dict[str, EngineTable]

    def table(self, name: str) -> dict[str, Any]:
        """One table as JSON values; "engines" has a table a NAME, "engines.NAME" is one of them."""
        outer, _, engine = name.partition(".")
        if outer == "engines":
            return asdict(self.engines[engine]) if engine else {each: asdict(t) for each, t in self.engines.items()}
        values = asdict(getattr(self, name))
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    def tables(self) -> dict[str, Any]:
        """All of them, as resolved.json holds them."""
        return {name: self.table(name) for name in (*TABLES, "engines")}


TABLES: dict[str, type] = {
    "teacher": EngineTable,
    "judge": EngineTable,
    "generate": GenerateTable,
    "train": TrainTable,
    "evaluate": EvaluateTable,
    "serve": ServeTable,
}
# With those that are a key of another one.
ALL_TABLES: dict[str, type] = {**TABLES, "train.lora": LoraTable, "engines.NAME": EngineTable}


def table_class(name: str) -> type:
    """The dataclass of a table; KeyError where a recipe has no such table."""
    return ALL_TABLES["engines.NAME" if name.startswith("engines.") else name]


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come along, by name: in the wheel beside the code, in a checkout at its top."""
    code = Path(__file__).parent.parent
    folders = [folder for folder in (code / "recipes", code.parent.parent / "recipes") if folder.is_dir()]
    found = sorted(path for folder in folders[:1] for path in folder.rglob("*.toml"))
    return {str(path.relative_to(folders[0]).with_suffix("")): path for path in found}


def load(path: Path | str, overrides: Iterable[str] = ()) -> Recipe:
    """Reads a recipe, a path or the name of one that comes along, and lays `table.key=value` overrides over it.

    PacosError says what cannot be.
    """
    name, path = str(path), Path(path)
    if not path.suffix and not path.exists():
        shipped = shipped_recipes()
        check_name("recipe", name, shipped, "recipe")
        path = shipped[name]
    elif not path.exists() and (path.stem in (shipped := shipped_recipes())):
        raise PacosError(f"{name}: no such file; the recipe {path.stem} that comes along is named without a path.")
    text = read_text(path, "recipe")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PacosError(f"{path}: not TOML: {error}. A recipe holds [tables] of key = value lines.") from None
    except (RecursionError, ValueError):
        raise PacosError(f"{path}: nested too deep, or a number too long, for a recipe; mend that value.") from None
    recipe = _resolve(path, path.stem, text, document, overrides)
    _check_evaluate_names(path, recipe)
    return recipe


def serving(model: str, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of a run that only serves a model."""
    text = f"[serve]\nmodel = {json.dumps(model)}\n"
    name = "serve-" + re.sub(r"[^\w.-]+", "-", model).strip("-.")
    return _resolve(Path("--model"), name, text, {"serve": {"model": model}}, overrides)


def judging(overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of a judge that is asked outside of any run."""
    return _resolve(Path("overrides"), "judging", "", {}, overrides)


def load_run(folder: Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe a run was made with, its overrides included; PacosError where the folder is no run."""
    path = folder / "resolved.json"
    if not path.exists():
        what = "not a run folder, which holds resolved.json" if folder.is_dir() else "no such run folder"
        raise PacosError(f"{folder}: {what}; expected one that `pacos run RECIPE` made, such as runs/tiny.")
    document = read_json(path, "resolved recipe that every run folder holds")
    if not isinstance(document, dict) or not all(isinstance(keys, dict) for keys in document.values()):
        raise PacosError(f"{path}: not the recipe that pacos wrote there; put the file back as it was.")
    text = read_text(folder / "recipe.toml", "recipe that every run folder holds")
    return _resolve(path, folder.name, text, _without_unset(document), overrides)


def _without_unset(table: dict[str, Any]) -> dict[str, Any]:
    """A table as TOML has it, where a key that is unset is not there."""
    values = {key: _without_unset(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in values.items() if value is not None}


def _resolve(path: Path, name: str, text: str, document: dict[str, Any], overrides: Iterable[str]) -> Recipe:
    spelt = [*_written(str(path), document), *map(_parse_override, overrides)]
    overridden = (table.partition(".")[2] for _, table, _, _ in spelt if table.startswith("engines."))
    engines = sorted({*document.get("engines", ()), *overridden})
    tables: dict[str, dict[str, Any]] = {table: {} for table in (*TABLES, *(f"engines.{each}" for each in engines))}
    for where, table, key, value in spelt:
        if table in ("teacher", "judge") and key == "engine" and isinstance(value, str):
            check_name(f"{where}: {table}.engine", value, (*ENGINE_KINDS, *engines), "engine")
        else:
            value = checked(where, table_class(table), table, key, value)
        if (table, key) == ("teacher", "prompt"):
            raise PacosError(f"{where}: a judge has a prompt; the teacher's is the key generate.prompt.")
        if table not in tables:
            # A key of an inner table, such as train.lora.
            table, _, inner = table.partition(".")
            key, value = inner, replace(tables[table].get(inner) or LoraTable(), **{key: value})
        tables[table][key] = value
    for role in ("teacher", "judge"):
        # What is spelt beside the name of an engine overrides its table.
        if (named := tables[role].get("engine")) in engines:
            del tables[role]["engine"]
            tables[role] = tables[f"engines.{named}"] | tables[role]
    return Recipe(
        name=name,
        text=text,
        engines={each: EngineTable(**tables[f"engines.{each}"]) for each in engines},
        **{table: TABLES[table](**tables[table]) for table in TABLES},
    )


def _written(where: str, document: dict[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    """(where, table, key, value) of each key that a recipe spells."""
    for table, values in document.items():
        check_name(where, table, (*TABLES, "engines"), "table")
        tables = {table: values}
        if table == "engines" and isinstance(values, dict):
            tables = {f"engines.{name}": keys for name, keys in values.items()}
        for each, keys in tables.items():
            if not isinstance(keys, dict):
                raise PacosError(f"{where}: '{each}' is a value; expected a table, written [{each}].")
            _check_engine_name(where, each)
            yield from ((where, each, key, value) for key, value in keys.items())


def _parse_override(override: str) -> tuple[str, str, str, Any]:
    """The same of `table.key=value`."""
    name, equals, raw = override.partition("=")
    table, dot, key = name.rpartition(".")
    if not equals or not dot:
        raise PacosError(f"override {override!r}: expected table.key=value, such as train.num_epochs=1.")
    # The value stays out of every error about a name: it may be a key typed in the wrong place.
    where = f"override {name}"
    if not table.startswith("engines."):
        check_name(where, table, ALL_TABLES, "table")
    _check_engine_name(where, table)
    cls = table_class(table)
    check_name(where, key, names_of(cls), "key", f"{table}.")
    if get_type_hints(cls)[key] is str:
        return where, table, key, raw
    try:
        return where, table, key, tomllib.loads(f"value = {raw}")["value"]
    except (RecursionError, ValueError):
        return where, table, key, raw


def _check_engine_name(where: str, table: str) -> None:
    outer, _, name = table.partition(".")
    if outer == "engines" and (name in (*ENGINE_KINDS, *MODEL_NAMES) or not re.fullmatch(r"[\w-]+", name)):
        raise PacosError(
            f"{where}: [{table}]: {name!r} cannot name an engine; expected letters, digits, - and _, and none of "
            f"{', '.join((*ENGINE_KINDS, *MODEL_NAMES))}."
        )


def _check_evaluate_names(path: Path, recipe: Recipe) -> None:
    """A bare word that is no judge, or nearly a candidate's name, is mistyped; the rest is seen when it is opened."""
    known = (*recipe.engines, *MODEL_NAMES)
    for name in filter(re.compile(r"[\w-]+").fullmatch, recipe.evaluate.judges):
        check_name(f"{path}: evaluate.judges", name, (*recipe.engines, "builtin:judge"), "engine")
    for name in filter(re.compile(r"[\w-]+").fullmatch, (recipe.evaluate.baseline, *recipe.evaluate.candidates)):
        if difflib.get_close_matches(name, known, n=1, cutoff=0.75) and not Path(name).is_dir():
            check_name(f"{path}: evaluate", name, known, "candidate")
