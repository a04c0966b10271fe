"""Chat teachers label tasks in their own ways: what they mean is read where that is sound, and refused elsewhere."""

import json
from collections.abc import Callable

import pytest

from pacos.core.records import Example
from pacos.engines import Reply
from pacos.engines.types import FinishReason
from pacos.generate.modes import ALPACA, ALPACA_FIXED, SELF_INSTRUCT, Mode
from pacos.generate.parser import Block

TASKS = [
    Example("Name a fruit that is red.", "", "Apple"),
    Example("Add the two numbers.", "1 and 2", "3"),
    Example("List three steps to boil an egg.", "", "1. Heat water.\n2. Put it in.\n\n3. Wait: ten minutes."),
    Example("Rewrite the line in capitals.", "a lamp: on a desk", "A LAMP: ON A DESK"),
]
ENGLISH = ("Instruction", "Input", "Output")
LANGUAGES = {
    "zh": ("指令", "输入", "输出"),
    "ja": ("指示", "入力", "出力"),
    "ko": ("지시", "입력", "출력"),
    "ru": ("Инструкция", "Ввод", "Вывод"),
    "el": ("Οδηγία", "Είσοδος", "Έξοδος"),
    "ar": ("التعليمات", "المدخلات", "المخرجات"),
    "he": ("הוראה", "קלט", "פלט"),
    "hi": ("निर्देश", "इनपुट", "आउटपुट"),
    "bn": ("নির্দেশ", "ইনপুট", "আউটপুট"),
    "th": ("คำสั่ง", "ข้อมูลนำเข้า", "ผลลัพธ์"),
    "am": ("መመሪያ", "ግቤት", "ውጤት"),
    "fr": ("Instruction", "Entrée", "Sortie"),
    "de": ("Anweisung", "Eingabe", "Ausgabe"),
    "es": ("Instrucción", "Entrada", "Salida"),
    "vi": ("Hướng dẫn", "Đầu vào", "Đầu ra"),
}


def parse(text: str, mode: Mode = ALPACA_FIXED, finish_reason: FinishReason = "stop") -> list[Block]:
    return mode.parse(Reply("r", text, finish_reason))


def read(text: str, mode: Mode = ALPACA_FIXED, finish_reason: FinishReason = "stop") -> list[Example]:
    return [mode.clean(example) for block in parse(text, mode, finish_reason) for example in block.examples]


def rules(text: str, mode: Mode = ALPACA_FIXED, finish_reason: FinishReason = "stop") -> list[str]:
    return [block.rule for block in parse(text, mode, finish_reason) if block.rule]


def written(layout: str, names: tuple[str, ...] = ENGLISH, first: int = 4, between: str = "\n") -> str:
    """The tasks in a layout: {k} is the number, {a} {b} {c} the names, {i} {n} {o} the texts."""
    return between.join(
        layout.format(
            k=number,
            **dict(zip("abc", names, strict=True)),
            i=task.instruction,
            n=task.input or "<noinput>",
            o=task.output,
        )
        for number, task in enumerate(TASKS, start=first)
    )


ASKED = "{k}. {a}: {i}\n{k}. {b}:\n{n}\n{k}. {c}:\n{o}\n"
LAYOUTS = {
    "as asked": ASKED,
    "lower case": "{k}. instruction: {i}\n{k}. input: {n}\n{k}. output: {o}\n",
    "only the instruction numbered": "{k}. {a}: {i}\n{b}: {n}\n{c}: {o}\n",
    "full-width colons": "{k}. {a}：{i}\n{k}. {b}：\n{n}\n{k}. {c}：\n{o}\n",
    "no-break spaces": "{k}.\u00a0{a}\u00a0:\u00a0{i}\n{k}.\u00a0{b}\u00a0: {n}\n{k}.\u00a0{c}\u00a0: {o}\n",
    "dashes": "{k}. {a} - {i}\n{k}. {b} - {n}\n{k}. {c} - {o}\n",
    "no space": "{k}.{a}:{i}\n{k}.{b}:{n}\n{k}.{c}:{o}\n",
    "round bracket": "{k}) {a}: {i}\n{k}) {b}: {n}\n{k}) {c}: {o}\n",
    "round brackets": "({k}) {a}: {i}\n({k}) {b}: {n}\n({k}) {c}: {o}\n",
    "square brackets": "[{k}] {a}: {i}\n[{k}] {b}: {n}\n[{k}] {c}: {o}\n",
    "number, dash": "{k} - {a}: {i}\n{k} - {b}: {n}\n{k} - {c}: {o}\n",
    "letters": "{k}a. {a}: {i}\n{k}b. {b}: {n}\n{k}c. {c}: {o}\n",
    "numbers of two parts": "{k}.1 {a}: {i}\n{k}.2 {b}: {n}\n{k}.3 {c}: {o}\n",
    "keycaps": "{k}\ufe0f\u20e3 {a}: {i}\n📥 {b}: {n}\n📤 {c}: {o}\n",
    "number behind": "{a} {k}: {i}\n{b} {k}: {n}\n{c} {k}: {o}\n",
    "hash number behind": "{a} #{k}: {i}\n{b} #{k}: {n}\n{c} #{k}: {o}\n",
    "task and number before": "Task {k} - {a}: {i}\nTask {k} - {b}: {n}\nTask {k} - {c}: {o}\n",
    "bold": "**{a}:** {i}\n**{b}:** {n}\n**{c}:** {o}\n",
    "bold, colon outside": "**{k}. {a}**: {i}\n**{b}**: {n}\n**{c}**: {o}\n",
    "bold line": "**{k}. {a}: {i}**\n**{b}:** {n}\n**{c}:** {o}\n",
    "bold underscores": "__{a}:__ {i}\n__{b}:__ {n}\n__{c}:__ {o}\n",
    "bold in a list": "{k}. **{a}:** {i}\n   - **{b}:** {n}\n   - **{c}:** {o}\n",
    "bullets": "- {a}: {i}\n- {b}: {n}\n- {c}: {o}\n",
    "stars": "* **{a}:** {i}\n* **{b}:** {n}\n* **{c}:** {o}\n",
    "dots": "• {a}: {i}\n• {b}: {n}\n• {c}: {o}\n",
    "task above": "Task {k}:\n{a}: {i}\n{b}: {n}\n{c}: {o}\n",
    "number above": "{k}.\n{a}: {i}\n{b}: {n}\n{c}: {o}\n",
    "heading above": "### Task {k}\n\n**{a}:** {i}\n\n**{b}:** {n}\n\n**{c}:** {o}\n\n---\n",
    "title above": "**Task {k}: Kitchen things**\n{a}: {i}\n{b}: {n}\n{c}: {o}\n",
    "category above": "### Task {k}\n**Category:** kitchen\n**{a}:** {i}\n**{b}:** {n}\n**{c}:** {o}\n",
    "category inside": "{k}. {a}: {i}\n{k}. Category: kitchen\n{k}. {b}: {n}\n{k}. {c}: {o}\n",
    "explanation below": "{k}. {a}: {i}\n{k}. {b}: {n}\n{k}. {c}: {o}\n{k}. Explanation: why so\n",
    "headings": "### {a}\n{i}\n\n### {b}\n{n}\n\n### {c}\n{o}\n",
    "headings with numbers": "### {a} {k}\n{i}\n### {b} {k}\n{n}\n### {c} {k}\n{o}\n",
    "Alpaca's headings": "### Instruction:\n{i}\n\n### Input:\n{n}\n\n### Response:\n{o}\n",
    "lines": "{a}\n{i}\n\n{b}\n{n}\n\n{c}\n{o}\n",
    "brackets": "[{a}] {i}\n[{b}] {n}\n[{c}] {o}\n",
    "tags": "<task>\n<instruction>{i}</instruction>\n<input>{n}</input>\n<output>\n{o}\n</output>\n</task>",
    "a fence each": "```\n{a}: {i}\n{b}: {n}\n{c}: {o}\n```\n",
    "question, context, answer": "Question: {i}\nContext: {n}\nAnswer: {o}\n",
    "prompt and response": "{k}. Prompt: {i}\n   Input: {n}\n   Response: {o}\n",
    "the task is the instruction": "Task {k}: {i}\nInput: {n}\nOutput: {o}\n",
    "the item is the instruction": "{k}. {i}\n   Input: {n}\n   Output: {o}\n",
    "the bold item is the instruction": "**{k}. {i}**\n\n**Input:** {n}\n\n**Output:** {o}\n",
    "Chinese under items": "{k}. {i}\n输入：{n}\n输出：{o}\n",
    "Chinese brackets": "【指令】{i}\n【输入】{n}\n【输出】{o}\n",
    "Chinese headings": "第{k}题\n指令：{i}\n输入：{n}\n输出：{o}\n",
    "Chinese tasks": "任务{k}：{i}\n输入：{n}\n输出：{o}\n",
    "another name for the input": "{k}. Instruction: {i}\n{k}. Eingabe: {n}\n{k}. Output: {o}\n",
}


@pytest.mark.parametrize("mode", [ALPACA_FIXED, SELF_INSTRUCT], ids=lambda mode: mode.name)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_is_read(layout: str, mode: Mode) -> None:
    text = written(layout)
    assert read(text, mode) == TASKS
    assert rules(text, mode) == []
    # A model that completes goes on behind "4. Instruction:"; one that chats greets, and may end its lines as DOS does.
    assert read(f"Sure! Here are the tasks:\n\n{written(layout, first=1)}", mode) == TASKS
    assert read(text.replace("\n", "\r\n"), mode) == [
        Example(task.instruction, task.input, task.output.replace("\r\n", "\n")) for task in TASKS
    ]


@pytest.mark.parametrize("layout", [ASKED, LAYOUTS["only the instruction numbered"], LAYOUTS["full-width colons"]])
def test_the_first_label_may_be_ours(layout: str) -> None:
    for names in (ENGLISH, LANGUAGES["zh"], LANGUAGES["de"]):
        text = written(layout, names)
        if layout != LAYOUTS["only the instruction numbered"] or names == ENGLISH:
            assert read(text.removeprefix(f"4. {names[0]}").lstrip(":： ")) == TASKS
    assert read(written(LAYOUTS["the item is the instruction"]).removeprefix("4.")) == TASKS


@pytest.mark.parametrize("names", LANGUAGES.values(), ids=LANGUAGES)
@pytest.mark.parametrize(
    "layout",
    [
        ASKED,
        LAYOUTS["only the instruction numbered"],
        "**{a} :** {i}\n**{b} :** {n}\n**{c} :** {o}\n",
        "\u200f{a}： {i}\n\u200f{b}： {n}\n\u200f{c}： {o}\n",
        LAYOUTS["number behind"],
    ],
    ids=["as asked", "first numbered", "bold", "bare", "number behind"],
)
def test_labels_of_other_languages_are_known_by_their_order(layout: str, names: tuple[str, ...]) -> None:
    assert read(written(layout, names)) == TASKS


def test_digits_of_other_scripts_are_numbers() -> None:
    for digits in ("٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "０１２３４５６７８９"):
        layout = LAYOUTS["round bracket"]
        tasks = [written(layout, LANGUAGES["ar"]).split("\n\n")[place] for place in (0, 1)]
        text = "\n\n".join(task.replace(f"{k})", f"{digits[k]})") for k, task in enumerate(tasks, start=4))
        assert read(text) == TASKS[:2]
    text = "一、指令：{i}\n输入：{n}\n输出：{o}\n"
    lines = [text.replace("一", numeral) for numeral in "一二三四"]
    assert (
        read(
            "\n".join(
                line.format(i=task.instruction, n=task.input or "无", o=task.output)
                for line, task in zip(lines, TASKS, strict=True)
            )
        )
        == TASKS
    )


RECORDS = [{"instruction": task.instruction, "input": task.input, "output": task.output} for task in TASKS]
TITLED = [{"Instruction": r["instruction"], "Input": r["input"] or None, "Output": r["output"]} for r in RECORDS]
CHINESE = [{"指令": r["instruction"], "输入": r["input"], "输出": r["output"]} for r in RECORDS]
INSTANCES = [
    {"instruction": r["instruction"], "instances": [{"input": r["input"], "output": r["output"]}]} for r in RECORDS
]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RECORDS),
        "Here you are:\n\n```json\n" + json.dumps(RECORDS, indent=2) + "\n```\nShall I write more?",
        "\n".join(json.dumps({"id": number} | record) for number, record in enumerate(RECORDS)),
        "\n\n".join(f"Task {n}:\n```json\n{json.dumps(record)}\n```" for n, record in enumerate(RECORDS)),
        json.dumps({"tasks": TITLED}, indent=1),
        json.dumps({str(number): record for number, record in enumerate(RECORDS)}),
        json.dumps(CHINESE, ensure_ascii=False),
        json.dumps(INSTANCES),
        # A raw line break in a text is no JSON, and often written.
        json.dumps(RECORDS).replace("\\n", "\n"),
        json.dumps({"tasks": RECORDS})[:-2],
    ],
    ids=["list", "fenced", "lines", "blocks", "wrapped", "keyed", "Chinese", "instances", "line-breaks", "unclosed"],
)
@pytest.mark.parametrize("mode", [ALPACA_FIXED, SELF_INSTRUCT], ids=lambda mode: mode.name)
def test_json_is_read(text: str, mode: Mode) -> None:
    assert read(text, mode) == TASKS


@pytest.mark.parametrize(
    "header", ["| # | Instruction | Input | Output |\n|---|:---|---|---|", "| # | 指令 | 输入 | 输出 |\n|-|-|-|-|"]
)
def test_a_table_is_read(header: str) -> None:
    rows = [f"| {n} | {t.instruction} | {t.input} | {t.output} |".replace("\n", "<br>") for n, t in enumerate(TASKS)]
    assert read("\n".join([header, *rows])) == TASKS
    assert rules("\n".join([header, *rows, "| 5 | Half a row."])) == ["malformed"]
    assert read("\n".join([header, r"| 1 | Say a\|b. | | a\|b |"])) == [Example("Say a|b.", "", "a|b")]


def test_yaml_blocks_lose_their_sign_and_margin() -> None:
    text = "- instruction: Write a poem.\n  input: none\n  output: |\n    Roses,\n      red.\n- instruction: Add.\n"
    assert read(text + "  input: 1 and 1\n  output: 2\n")[0].output == "Roses,\n  red."


def test_what_is_cut_is_lost_and_no_more() -> None:
    for text in (json.dumps(RECORDS), *(written(layout) for layout in LAYOUTS.values() if "tags" not in layout)):
        cut = text.rstrip("`\n -")[:-6]
        assert read(cut, finish_reason="length") == TASKS[:3], text
        assert rules(cut, finish_reason="length") == ["truncated"], text
    # JSON says itself that its last task is whole.
    assert read(json.dumps(RECORDS), finish_reason="length") == TASKS
    broken = json.dumps(RECORDS[0])[:-20] + "\n" + json.dumps(RECORDS[1]) + "\n" + json.dumps(RECORDS[2])
    assert (read(broken), rules(broken)) == (TASKS[1:3], ["malformed"])


def repeated(task: str) -> str:
    return "".join(task.format(k=k) for k in range(4, 10))


@pytest.mark.parametrize(
    "text",
    [
        "Alice: Good morning to you all\nBob: How are you today\nAlice: Well and glad\nBob: Then I am too",
        "问：你今天过得好不好\n答：我过得很好\n\n问：天气怎么样\n答：今天是晴天",
        json.dumps([{"word": "lamp", "meaning": "a thing that gives light"}] * 3),
        json.dumps([{"title": "The old man of the sea", "author": "A. B.", "text": "Long ago."}] * 3),
        "From: a\nTo: b\nSubject: c\nHi\n\nFrom: d\nTo: e\nSubject: f\nHo",
        "| Word | Meaning |\n|---|---|\n| lamp | a light |",
        "I'm sorry, but I can't help with that.\n\nNote: this is so.\nNote: it stays so.",
    ],
    ids=["dialogue", "Chinese dialogue", "glossary", "library", "letters", "table", "refusal"],
)
def test_what_is_no_list_of_tasks_is_not_read_as_one(text: str) -> None:
    for mode in (ALPACA, ALPACA_FIXED, SELF_INSTRUCT):
        assert read(text, mode) == []


@pytest.mark.parametrize(
    ("layout", "output"),
    [
        (ASKED, "Ingredients: flour\nSteps: mix"),
        ("**{a}:** {i}\n**{b}:** {n}\n**{c}:** {o}\n\n", "Question: what\nAnswer: that"),
        ("**{a}:** {i}\n**{b}:** {n}\n**{c}:**\n{o}\n\n", "Input: 5\nOutput: 6"),
        ("{a}: {i}\n{b}: {n}\n{c}:\n{o}\n\n", "Subject: Hello\nDear Sir, all is well."),
        (ASKED, '{"instruction": "x", "input": "", "output": "y"}'),
        (ASKED, "<html>\n</html>"),
        (ASKED, "# Title\n**Chapter 1**\ntext\n**Chapter 2**"),
        (ASKED, "**Bold** text and *more*"),
        (ASKED, "| Instruction | Output |\n|---|---|\n| a | b |"),
        (ASKED, "The <think> tag, and its end </think>, in a line."),
        (ASKED, "<analysis>\nAll is well.\n</analysis>"),
        (ASKED, "```python\nprint(1)\n```"),
        ("{a}: {i}\n{b}: {n}\n{c}: {o}\n\n", "Item 5"),
    ],
)
def test_what_an_output_holds_stays_in_it(layout: str, output: str) -> None:
    texts = [f"Write thing {letter} about it." for letter in "abc"]
    names = dict(zip("abc", ENGLISH, strict=True))
    text = "".join(
        layout.format(k=k, i=instruction, n="<noinput>", o=output, **names) for k, instruction in enumerate(texts, 4)
    )
    assert read(text) == [Example(instruction, "", output) for instruction in texts]


def test_an_input_that_may_be_one_by_another_name_is_never_swallowed() -> None:
    once = repeated("{k}. 指令：写诗{k}\n{k}. 输出：诗\n").replace("6. 输出", "6. 输入：月亮\n6. 输出")
    assert [example.instruction for example in read(once)] == ["写诗4", "写诗5", "写诗7", "写诗8", "写诗9"]
    half = "".join(f"指令：写诗{k}\n" + (f"输入：月{k}\n" if k % 2 else "") + "输出：诗\n\n" for k in range(4, 12))
    assert [example.input for example in read(half)] == ["", "月5", "", "月7", "", "月9", "", "月11"]


def test_half_of_the_asked_tasks_count_before_what_an_output_holds() -> None:
    record = '{"instruction": "x", "input": "", "output": "y"}'
    text = f"4. Instruction: Write a record.\n4. Input: <noinput>\n4. Output:\n{record}\n5. Instruction: Go on.\n"
    assert read(text) == [Example("Write a record.", "", record)]
    assert rules(text) == ["malformed"]


def test_what_one_of_two_outputs_ends_with_is_no_label_that_all_have() -> None:
    text = "4. Instruction: Say it.\n4. Input: <noinput>\n4. Output:\nYes.\n4. Note: so.\n"
    text += "5. Instruction: Say no.\n5. Input: <noinput>\n5. Output:\nNo.\n"
    assert [example.output for example in read(text)] == ["Yes.\n4. Note: so.", "No."]


def test_an_input_of_quotes_alone_is_none() -> None:
    for empty in ("''", '""', "「」"):
        assert read(repeated(f"- instruction: Do it {{k}}\n  input: {empty}\n  output: y\n"))[0].input == ""
    assert read(repeated("{k}. Instruction: Do it {k}\nInput: 'x'\nOutput: y\n"))[0].input == "'x'"


def test_a_json_task_may_have_a_number_and_nothing_else_for_its_texts() -> None:
    tasks = [{"instruction": f"Add {n} and 1", "input": None, "output": n + 1} for n in range(4)]
    assert read(json.dumps({"count": 4, "tasks": tasks}))[2] == Example("Add 2 and 1", "", "3")


def test_a_task_without_its_output_costs_no_other() -> None:
    text = repeated("{k}. Instruction: Do it {k}\nInput: x\nOutput: y\n").replace(
        "6\nInput: x\nOutput: y", "6\nInput: x"
    )
    assert (len(read(text)), rules(text)) == (5, ["malformed"])


BLOCKS: dict[str, Callable[[str], str]] = {
    "think": "<think>\n{}\n</think>\n\n".format,
    "thinking": "<thinking>{}</thinking>".format,
    "thought": "<thought>\n{}</thought>\n".format,
    "closing mark alone": "{}\n</think>\n\n".format,
    "Seed": "<seed:think>{}</seed:think>".format,
    "Magistral": "[THINK]{}[/THINK]".format,
    "Kimi": "◁think▷{}◁/think▷".format,
    "Command": "<|START_THINKING|>{}<|END_THINKING|>".format,
    "harmony": "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>".format,
    "Gemma": "<|channel>thought\n{}<channel|>".format,
    "Granite": "Here is my thought process: {}\nHere is my response:\n".format,
    "nested": "<think>a <think>\n{}\n</think> b\n</think>\n".format,
    "reasoning": "<reasoning>\n{}\n</reasoning>\n".format,
    "twice": "<think>\n{}\n</think>\n<think>\nNow.\n</think>\n".format,
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("mode", [ALPACA, ALPACA_FIXED, SELF_INSTRUCT], ids=lambda mode: mode.name)
def test_nothing_that_a_model_thinks_aloud_is_read(block: Callable[[str], str], mode: Mode) -> None:
    first = 9 if mode is SELF_INSTRUCT else 4
    draft = f"I draft:\n{first}. Instruction: Name a draft.\n{first}. Input:\nx\n{first}. Output:\ny\n"
    # In the published procedure only what goes on behind our label is read.
    reply = written(ASKED, first=first, between="###\n").removeprefix(f"{first}. Instruction:")
    assert read(block(draft) + reply, mode) == TASKS
    assert rules(block(draft) + reply, mode) == []


def test_thoughts_between_tasks_are_left_out_and_thoughts_alone_are_no_task() -> None:
    text = (
        written(LAYOUTS["bullets"]) + "\n<think>One more.\n- Instruction: No.\n</think>\n" + written(LAYOUTS["bullets"])
    )
    assert read(text) == TASKS * 2
    for mode in (ALPACA, ALPACA_FIXED, SELF_INSTRUCT):
        assert read("<think>\n4. Instruction: Name it.\n4. Output:\nx\n", mode, "length") == []
    assert rules("<think>\nLet me see", finish_reason="length") == ["truncated"]
    assert read(f"<think>Hm.</think><answer>\n{written(ASKED)}\n</answer><|im_end|>") == TASKS
