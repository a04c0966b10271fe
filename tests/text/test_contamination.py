"""Contamination finds what gives an evaluation question away, in every format such sets come in."""

import json
from pathlib import Path

import pytest

from pacos.core.errors import PacosError
from pacos.core.records import Example
from pacos.text import Contamination

QUESTION = "Explain to a new employee why the meeting room must be booked two days ahead."
LONG = "The harbour master wrote that no boat may leave before the bell has rung three times in the evening fog."
PART = "boat may leave before the bell has rung three times in the evening"


@pytest.fixture
def guarded() -> Contamination:
    contamination = Contamination()
    contamination.add(Example(QUESTION, "", ""), "set.json")
    contamination.add(Example("Summarise the text.", LONG, ""), "set.json")
    contamination.add(Example("写一首关于春天和河流的短诗给我的老朋友。", "", ""), "set.json")
    return contamination


@pytest.mark.parametrize(
    ("example", "kind"),
    [
        (Example(QUESTION, "", "Because it is small."), "near"),
        (Example(QUESTION.upper().replace("TWO", "three"), "", "Because."), "near"),
        (Example("写一首关于春天和河流的短诗给我的老朋友吧。", "", "好"), "near"),
        (
            Example("Translate these lines into plain modern Spanish.", f"Years later they said: {PART}.", "…"),
            "overlap",
        ),
        (Example("Write a notice for sailors.", "", f"Notice! {PART}, says the mayor."), "overlap"),
    ],
)
def test_finds(guarded: Contamination, example: Example, kind: str) -> None:
    match = guarded.find(example)
    assert match is not None
    assert (match.kind, match.file) == (kind, "set.json")
    assert match.score > 0.7


@pytest.mark.parametrize(
    "example",
    [
        Example("Summarise the text.", "Bees live in hives and make honey from what they gather.", "Bees make honey."),
        Example("Explain to a child why the sky is blue.", "", "Light scatters."),
        Example("写一首关于冬天的诗。", "", "雪"),
        Example("", "", ""),
    ],
)
def test_leaves_other_examples_alone(guarded: Contamination, example: Example) -> None:
    assert guarded.find(example) is None


# One sentence that questions share, one question's text of thirteen words and more, and other things to ask.
SCRIPTS = {
    "Chinese": (
        "请仔细阅读下面的材料并用中文回答问题。",
        "港口的主人写道，在傍晚的大雾里，钟声没有响过三次以前，任何船只都不可以离开。",
        ["长江一共经过多少个省？", "为什么天空在白天看起来是蓝色的？", "怎样判断一首诗是不是七言律诗？"],
    ),
    "Japanese": (
        "次の文章をよく読んで、質問に答えてください。",
        "港の主人は、夕方の霧の中で鐘が三回鳴るまでは、どの船も港を出てはならないと書いている。",
        [
            "富士山の高さは何メートルですか。",
            "俳句と短歌のちがいを説明してください。",
            "味噌汁の作り方を教えてください。",
        ],
    ),
    "Thai": (
        "โปรดอ่านข้อความต่อไปนี้แล้วตอบคำถาม",
        "นายท่าเรือเขียนไว้ว่าห้ามเรือลำใดออกจากท่าก่อนที่ระฆังจะดังครบสามครั้งในหมอกยามเย็น",
        ["แม่น้ำเจ้าพระยายาวเท่าไร", "ทำไมท้องฟ้าตอนกลางวันจึงเป็นสีฟ้า", "จงอธิบายวิธีต้มไข่ให้สุกพอดี"],
    ),
    "Khmer": (
        "សូមអានអត្ថបទខាងក្រោមហើយឆ្លើយសំណួរ",
        "ម្ចាស់កំពង់ផែបានសរសេរថាគ្មានទូកណាអាចចេញដំណើរបានទេមុនពេលជួងរោទ៍បីដងនៅក្នុងអ័ព្ទពេលល្ងាច",
        ["តើទន្លេមេគង្គមានប្រវែងប៉ុន្មាន", "ហេតុអ្វីបានជាមេឃមានពណ៌ខៀវនៅពេលថ្ងៃ", "សូមពន្យល់ពីរបៀបស្ងោរស៊ុតឱ្យឆ្អិនល្អ"],
    ),
    "Lao": (
        "ກະລຸນາອ່ານຂໍ້ຄວາມຕໍ່ໄປນີ້ແລ້ວຕອບຄຳຖາມ",
        "ນາຍທ່າເຮືອຂຽນໄວ້ວ່າຫ້າມເຮືອລຳໃດອອກຈາກທ່າກ່ອນທີ່ລະຄັງຈະດັງຄົບສາມເທື່ອໃນໝອກຕອນແລງ",
        ["ແມ່ນ້ຳຂອງຍາວເທົ່າໃດ", "ເປັນຫຍັງທ້ອງຟ້າຕອນກາງເວັນຈຶ່ງເປັນສີຟ້າ", "ຈົ່ງອະທິບາຍວິທີຕົ້ມໄຂ່ໃຫ້ສຸກພໍດີ"],
    ),
}


@pytest.mark.parametrize(("shared", "told", "asked"), SCRIPTS.values(), ids=SCRIPTS)
def test_thirteen_words_are_no_thirteen_characters(shared: str, told: str, asked: list[str]) -> None:
    guarded = Contamination()
    guarded.add(Example(f"{shared}{told}", "", ""), "set.json")
    for question in asked:
        assert guarded.find(Example(shared, f"{question}{question}", "")) is None
        assert guarded.find(Example(question, "", f"{shared}{question}")) is None
    for example in (Example(asked[0], "", told), Example(asked[0], f"{asked[1]}{told}{asked[2]}", "")):
        match = guarded.find(example)
        assert match is not None
        assert match.kind == "overlap"


def test_what_three_questions_share_is_no_question() -> None:
    how = "Read the following passage with care, and then answer the question below it in your own words:"
    questions = [f"{how} {question}" for question in (QUESTION, LONG, "Why is the sea salt?", "Who wrote this?")]
    for number in range(len(questions)):
        guarded = Contamination()
        for other in questions[: number + 1]:
            guarded.add(Example(other, "", ""), "set.json")
        example = Example("Say how a task is put.", "", f"It says: {how} What is a bee, and where does it live?")
        assert (guarded.find(example) is None) == (number >= 2)
        assert guarded.find(Example("Write a notice.", "", f"{PART}, it says.")) is None or number >= 1
    passage = " ".join(f"word{number}" for number in range(60))
    guarded = Contamination()
    for question in ("Who?", "Where is it, and when was it?", "Why?", "How?"):
        guarded.add(Example(question, passage, ""), "set.json")
    match = guarded.find(Example("Write many words.", "", passage))
    assert match is not None


def test_reads_every_format(shared_data: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text(json.dumps({"instruction": QUESTION, "output": ""}))
    paths = [
        shared_data / "self_instruct" / "user_oriented_instructions.jsonl",
        shared_data / "alpaca_eval" / "results" / "alpaca-7b" / "model_outputs.json",
        own,
    ]
    both = Contamination.read(paths)
    # The 252 are among AlpacaEval's 805, in one text with their inputs; some questions stand in either twice.
    assert 900 < len(both) <= 252 + 805 + 1
    for line in paths[0].read_text().splitlines()[:50]:
        record = json.loads(line)
        assert both.find(Example(record["instruction"], record["instances"][0]["input"], "x")) is not None
    for record in json.loads(paths[1].read_text())[:50]:
        assert both.find(Example(record["instruction"], "", "x")) is not None
    assert both.find(Example(QUESTION, "", "")) is not None


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"instruction": "a", "instances": [{"input": ""}]}\n{"instruction": "b", "instances": 3}\n')
    with pytest.raises(PacosError, match=r"set\.jsonl:2: "):
        Contamination.read([path])
