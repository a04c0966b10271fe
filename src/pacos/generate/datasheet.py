"""The datasheet: what a reader of the data set must know, answered from the run itself.

Its seven sections and their questions follow Gebru et al., Datasheets for Datasets (2021), in words of this project.
What a run cannot know is said to be unknown, and what only a person can know is left to be filled in.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from pacos import __version__
from pacos.asking import Totals
from pacos.core.recipe import Recipe
from pacos.core.records import Example
from pacos.generate.audit import stop_at_20
from pacos.generate.defects import CHECKS
from pacos.generate.filters import MEANINGS
from pacos.generate.inputs import evaluation_sets
from pacos.generate.modes import MODES
from pacos.generate.pool import CONTAMINATED, Pool
from pacos.text.contamination import NEAR, RUN_WORDS

UNKNOWN = "Not known to pacos."
FILL_IN = "**[to be filled in]**"

_TERMS = {
    "builtin": (
        "The teacher is pacos's own rule-based stand-in, no language model; its replies may be used under the "
        "licence of pacos (Apache-2.0)."
    ),
    "http": (
        "The replies come from a model behind a server. Its provider's terms govern what may be done with them: many "
        "forbid training models that compete with theirs. Which terms they are is not known to pacos. Read them before "
        "you publish or use this data."
    ),
    "local": (
        "The replies come from a model run from its weights. The licence of those weights governs what may be done "
        "with its output; which one it is, is not known to pacos. Read it before you publish or use this data."
    ),
}


@dataclass(frozen=True)
class _Made:
    """What the answers are read from."""

    recipe: Recipe
    teacher: str
    seeds: str
    num_seeds: int
    pool: Pool
    totals: Totals

    @property
    def by_rules(self) -> bool:
        """Whether the teacher was no model."""
        return self.recipe.teacher.engine == "builtin"

    @cached_property
    def examples(self) -> list[Example]:
        return [kept.example for kept in self.pool.kept]

    def count(self, number: int) -> str:
        """The number, and its share of the examples."""
        return f"{number:,} ({number / len(self.examples):.1%})"


def write_datasheet(recipe: Recipe, teacher: str, seeds: str, num_seeds: int, pool: Pool, totals: Totals) -> str:
    """The datasheet as Markdown."""
    made = _Made(recipe, teacher, seeds, num_seeds, pool, totals)
    sections = {
        "Motivation": _motivation(made),
        "Composition": _composition(made) | _people(made),
        "Collection": _collection(made),
        "Preprocessing, cleaning and labelling": _preprocessing(made),
        "Uses": _uses(made),
        "Distribution": _distribution(made),
        "Maintenance": _maintenance(),
    }
    parts = [
        f"# Datasheet: {recipe.name}",
        f"{len(made.examples):,} examples of instruction, input and output, for fine-tuning language models to follow "
        f"instructions. Written by pacos {__version__} from the run that made them. It asks the questions of Gebru et "
        f"al., *Datasheets for Datasets* (2021), in its own words. “{UNKNOWN}” stands where a run cannot tell, "
        f"{FILL_IN} where only a person can: it is for whoever publishes this data.",
    ]
    for title, answers in sections.items():
        parts.append(f"## {title}")
        parts += [f"**{question}**\n\n{answer}" for question, answer in answers.items()]
    return "\n\n".join(parts) + "\n"


def _motivation(made: _Made) -> dict[str, str]:
    return {
        "What is it for?": (
            "Teaching a language model that completes text to follow instructions, by supervised fine-tuning. What the "
            f"makers wanted it for beyond that: {FILL_IN}."
        ),
        "Who made it, and for whom?": FILL_IN,
        "Who paid?": f"The teacher's replies cost {_usd(made.totals)}. Who paid: {FILL_IN}.",
    }


def _usd(totals: Totals) -> str:
    unseen = f", and attempts without an answer at most {totals.unseen_usd:.4f} more" if totals.unseen_usd else ""
    return f"{totals.usd:.4f} US dollars{unseen}"


def _composition(made: _Made) -> dict[str, str]:
    examples, kept = made.examples, made.pool.kept
    with_input = sum(bool(example.input) for example in examples)
    not_english = sum(not example.instruction.isascii() for example in examples)
    links = sum("://" in text for example in examples for text in (example.input, example.output))
    nearest = sorted(k.similarity for k in kept)
    near_seed = sum(k.seed_similarity > 0.5 for k in kept)
    return {
        "What is one record, and what is in it?": (
            "One task as text: an instruction, an input (empty where the task needs none) and an output. No other data."
        ),
        "How many are there?": f"{len(examples):,}; {made.count(with_input)} of them have an input.",
        "Is it everything, or a sample?": (
            "All of the teacher's tasks that passed the rules below, up to the number asked for. It stands for nothing "
            "larger than what this teacher writes when shown these seed tasks."
        ),
        "Does a record have a label or target?": "The output is what a model is to learn.",
        "Is anything missing from records?": f"Only inputs: {made.count(len(examples) - with_input)} tasks have none.",
        "Are records tied to one another?": (
            f"{_instances(made)}`dataset.jsonl` says which came in one reply, and names the earlier text that each "
            f"instruction is nearest to: the median ROUGE-L is {nearest[len(nearest) // 2]:.2f}, the highest "
            f"{nearest[-1]:.2f}; {made.count(near_seed)} are above 0.5 to a seed task."
        ),
        "Are there splits to keep to?": "No. Everything is meant for training.",
        "What errors, noise and repetitions are known?": _defects(examples),
        "Does it lean on anything outside?": (
            f"No. {links:,} inputs and outputs hold a link; what stands behind those is no part of it."
        ),
        "In which languages is it?": (
            f"Those that the teacher wrote. {made.count(not_english)} instructions hold a character outside ASCII; "
            "more was not measured."
        ),
    }


def _instances(made: _Made) -> str:
    """Records of one task share their instruction."""
    per_task = Counter((kept.origin.request, kept.origin.index) for kept in made.pool.kept)
    shared = sum(count for count in per_task.values() if count > 1)
    if not shared:
        return "Not by content. "
    return f"{shared:,} records are instances of a task that has several, and share its instruction. "


def _defects(examples: list[Example]) -> str:
    counts = {check.name: sum(bool(check.find(example)) for example in examples) for check in CHECKS}
    rows = [f"| `{c.name}` | {counts[c.name]:,} | {c.meaning} |" for c in CHECKS if counts[c.name]]
    none = ", ".join(f"`{name}`" for name, count in counts.items() if not count)
    questions = Counter((example.instruction.strip(), example.input.strip()) for example in examples)
    outputs = Counter(example.output.strip() for example in examples)
    lines = [
        "Nobody checked the outputs for truth. What rules can find was looked for in every record "
        "(`pacos generate --audit dataset.json` lists the records):",
        "\n".join(["| check | records | what it finds |", "|-|-|-|", *(rows or ["| - | 0 | nothing |"])]),
        f"Found nowhere: {none}." if none else "",
        f"{len(examples) - len(questions):,} records repeat the instruction and input of an earlier one; "
        f"{len(examples) - len(outputs):,} have the very output of an earlier one.",
        stop_at_20(examples).evidence,
    ]
    return "\n\n".join(line for line in lines if line)


def _people(made: _Made) -> dict[str, str]:
    origin = (
        "The builtin teacher's words and facts are those in pacos's own source."
        if made.by_rules
        else "The teacher may repeat what it was trained on: it can name real people, rightly or wrongly, and speak of "
        "groups as its training data did."
    )
    return {
        "Does it hold anything confidential?": f"{UNKNOWN} {origin}",
        "Can it offend or frighten?": f"{UNKNOWN} Nobody has looked through it for that.",
        "Is it about people: groups, single persons, sensitive facts?": (
            f"{UNKNOWN} It was not gathered from people. {origin}"
        ),
    }


def _collection(made: _Made) -> dict[str, str]:
    recipe, pool, totals = made.recipe, made.pool, made.totals
    table, teacher = recipe.generate, recipe.teacher
    prompt = f"the prompt of `{table.prompt}`" if table.prompt else "the mode's own prompt"
    shown = "seed tasks and tasks kept before" if MODES[table.mode].num_from_pool else "seed tasks"
    behind = "" if made.by_rules else f" People behind the teacher's training: {UNKNOWN}"
    left_out = f" (the server did not take {' and '.join(totals.left_out)}: its own default held)"
    settings = f"temperature {teacher.temperature:g}, top_p {teacher.top_p:g}{left_out if totals.left_out else ''}"
    age = "" if made.by_rules else f" How old the teacher's knowledge is: {UNKNOWN}"
    return {
        "How did each record come about?": (
            f"The teacher, {made.teacher}, was shown {shown} and asked to write more; each record is a task of a "
            "reply. No record was written or changed by hand. Each line of `dataset.jsonl` names its request, the "
            "tasks shown and the ledger's key, under which `ledger.sqlite` holds the request and the reply."
        ),
        "With which instruments?": (
            f"pacos {__version__}, mode `{table.mode}`, {prompt}, seed {table.seed}; {settings}, at most "
            f"{teacher.max_tokens:,} tokens a reply. "
            f"{totals.replies:,} replies, {totals.prompt_tokens:,} tokens of prompts and "
            f"{totals.completion_tokens:,} of replies, {_usd(totals)}."
        ),
        "Where do the seed tasks come from?": (
            f"{made.num_seeds} from {made.seeds}. "
            + (
                "Who wrote them, and under which licence they stand: " + FILL_IN + "."
                if table.seed_tasks
                else _OWN_SEEDS
            )
        ),
        "How was a sample drawn?": (
            "The tasks that a request shows were drawn at random by the recipe's seed and the request's number. "
            f"{pool.num_asked:,} tasks were asked for, {pool.num_read:,} examples read from the replies and "
            f"{len(made.examples):,} kept."
        ),
        "Who took part, and how were they paid?": (
            f"No person wrote or judged records. Whoever ran pacos: {FILL_IN}.{behind}"
        ),
        "Over what time?": (
            f"The replies arrived from {totals.first_received or '-'} to {totals.last_received or '-'} (UTC), "
            f"{totals.seconds:,.1f} seconds of work, that of a stopped process counted up to its last reply.{age}"
        ),
        "Was there an ethical review?": FILL_IN,
        "Were people asked, told, and able to withdraw; was the effect on them studied?": (
            "Nobody's data was gathered by this run, so nobody was asked."
            + ("" if made.by_rules else f" Whether the people whose texts the teacher learned from were: {UNKNOWN}")
        ),
    }


_OWN_SEEDS = "They were written for pacos and stand under its licence (Apache-2.0)."


def _preprocessing(made: _Made) -> dict[str, str]:
    pool, table = made.pool, made.recipe.generate
    rejections = [f"| `{rule}` | {count:,} | {MEANINGS[rule]} |" for rule, count in pool.rejections.most_common()]
    empty = "an input of `<noinput>`" if table.mode == "alpaca" else "every usual spelling of “no input”"
    return {
        "What was done to the data?": (
            f"Replies were cut into records, and {empty} became an empty input; nothing else in a record was changed. "
            "Records that broke a rule were left out. An instruction counts as novel when its ROUGE-L to every seed "
            f"task and every example kept before it is at most {table.similarity_threshold:g}.\n\n"
            + "\n".join(["| rule | rejected | what it refuses |", "|-|-|-|", *(rejections or ["| - | 0 | nothing |"])])
        ),
        "Were evaluation questions kept out?": _decontamination(made),
        "Is the raw data kept?": (
            "Yes: `ledger.sqlite` holds every request and reply, `rejected.jsonl` every rejected block with its rule."
        ),
        "Is the software to be had?": (
            f"Yes: pacos {__version__}, Apache-2.0; the settings are in `recipe.toml` and `resolved.json`."
        ),
    }


def _decontamination(made: _Made) -> str:
    files = [str(path) for path in evaluation_sets(made.recipe)]
    if not files:
        return (
            "No: the recipe names no evaluation set (`generate.decontaminate`, `evaluate.instructions`). Whether "
            f"questions of any are in it: {UNKNOWN}"
        )
    dropped = Counter(rejected.file for rejected in made.pool.rejected if rejected.rule == CONTAMINATED)
    rows = [f"| `{file}` | {dropped[file]:,} |" for file in files]
    return (
        f"Yes, those of these files. An example was left out where its instruction and input are above ROUGE-L {NEAR} "
        f"to a question's, or where any of its fields holds {RUN_WORDS} words of a question in a row. Paraphrases that "
        "share fewer words pass, and so do the questions of all other evaluation sets.\n\n"
        + "\n".join(["| evaluation set | examples left out |", "|-|-|", *rows])
    )


def _uses(made: _Made) -> dict[str, str]:
    return {
        "What has it been used for already?": f"{UNKNOWN} What this run trained on it stands in the run's `train/`.",
        "Where are works that use it listed?": FILL_IN,
        "What else could it serve?": (
            "Studies of what teachers write: the ledger and the rejected records are kept with their reasons."
        ),
        "What about it could harm later uses?": (
            "A model trained on it takes on the teacher's errors, style and biases. The instructions follow the seed "
            "tasks in kind and language. The rules judge form, not truth. "
            + (
                "The builtin teacher composes its sentences from fixed patterns: what is learned from them says "
                "nothing about a real teacher."
                if made.by_rules
                else "The teacher's terms, below, may restrict what is built on it."
            )
        ),
        "What should it not be used for?": (
            "As a source of facts, as a test set, or, without people looking through it, for models that give medical, "
            "legal or financial advice."
        ),
    }


def _distribution(made: _Made) -> dict[str, str]:
    return {
        "Who may have it, how and since when?": FILL_IN,
        "Under which licence and terms?": (
            f"{_TERMS[made.recipe.teacher.engine]} The licence it is published under: {FILL_IN}."
        ),
        "Do others hold rights in it?": (
            f"The authors of the seed tasks may. Beyond that: {UNKNOWN}"
            if made.by_rules
            else "The teacher's provider may, by the terms above, and so may the authors of the seed tasks. Texts that "
            f"the teacher repeats from its training: {UNKNOWN}"
        ),
        "Do export or other controls apply?": UNKNOWN,
    }


def _maintenance() -> dict[str, str]:
    return {
        "Who keeps it, and how can they be reached?": FILL_IN,
        "Where are errors listed?": f"The known ones above, at the time of writing. Later ones: {FILL_IN}.",
        "Will it be updated?": (
            f"{FILL_IN}. The same recipe on the same ledger makes the same bytes, so that two versions can be compared."
        ),
        "Must records about people be deleted after a time?": UNKNOWN,
        "Are older versions kept?": FILL_IN,
        "Can others add to it?": (
            "With `ledger.sqlite`, the recipe and pacos anyone can check and repeat how it was made. Who takes "
            f"contributions: {FILL_IN}."
        ),
    }
