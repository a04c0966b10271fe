"""Each rule rejects what it names, and nothing in the released data breaks a rule of `alpaca`."""

import pytest

from pacos.core.records import Example
from pacos.generate.filters import FIXED_RULES, INSTANCE_RULES, PUBLISHED_RULES, first_broken, normalise_input

GOOD = Example("Name three fruits that are red.", "", "Apple, cherry, strawberry.")


def changed(instruction: str = GOOD.instruction, input: str = GOOD.input, output: str = GOOD.output) -> Example:
    return Example(instruction, input, output)


@pytest.mark.parametrize(
    ("rule", "example"),
    [
        ("too_short", changed("Name three fruits.")),
        ("too_long", changed("word " * 151)),
        ("blacklist_word", changed("Draw a tree with many leaves.")),
        ("blacklist_word", changed("Tell me to GO TO the nearest shop.")),
        ("write_a_program", changed("Write a program that adds numbers.")),
        ("bad_first_character", changed("- name three fruits that are red")),
    ],
)
def test_rules_of_both_modes(rule: str, example: Example) -> None:
    assert first_broken(example, PUBLISHED_RULES) == rule
    assert first_broken(example, FIXED_RULES) == rule


@pytest.mark.parametrize(
    ("rule", "example"),
    [
        ("empty_output", changed(output=" ")),
        ("empty_output", changed(output="<nooutput>")),
        ("empty_output", changed(output="No output")),
        ("empty_output", changed(output="No output required")),
        ("empty_output", changed(output="<noinput>")),
        ("empty_output", changed(input="N/A", output="N/A")),
        ("merged_record", changed(output="Apple\n5. Instruction: Name a city")),
        ("merged_record", changed(input="x\n5. Instruction: Name a city")),
        ("merged_record", changed(output="Apple\n###\n5. Name a city")),
        ("output_equals_input", changed(input="the very same text", output=" the very same text ")),
        ("output_equals_input", changed(output=GOOD.instruction)),
        ("url_input", changed(input="https://example.com/article")),
        ("url_input", changed(input="Article 1: https://example.com/a\n\nArticle 2: https://example.com/b")),
        ("url_input", changed(input='![alt text](https://example.com/cat.png "A cat")')),
        ("url_input", changed("Summarize the content of this URL for me.", "https://example.com/article")),
        ("url_input", changed("请总结这篇文章的内容并列出要点", "文章：https://example.com/article")),
        ("empty_output", changed(output="<无输出>")),
        ("empty_output", changed(output="（無）")),
        ("empty_output", changed(output="لا يوجد إخراج")),
        ("empty_output", changed(output="[なし]")),
        ("output_equals_input", changed("请写一句关于春天的话", "", "请写一句关于春天的话")),
        ("merged_record", changed(output="Apple\n5. Instruction：Name a city")),
        ("bad_first_character", changed("。请写一首关于春天的短诗")),
        ("bad_first_character", changed("」请写一首关于春天的短诗")),
        ("bad_first_character", changed("、请写一首关于春天的短诗")),
        ("bad_first_character", changed("• 请写一首关于春天的短诗")),
        ("bad_first_character", changed("— 请写一首关于春天的短诗")),
        ("too_short", changed("画猫吧")),
        ("too_short", changed("Напиши стих сейчас")),
        ("too_long", changed("写一首关于春天的诗" * 30)),
        ("too_long", changed("เขียนบทกวีเกี่ยวกับฤดูใบไม้ผลิ" * 30)),
    ],
)
def test_rules_over_the_whole_record(rule: str, example: Example) -> None:
    if example.instruction.isascii():
        assert first_broken(example, PUBLISHED_RULES) is None
    assert first_broken(example, FIXED_RULES) == rule


@pytest.mark.parametrize(
    "example",
    [
        GOOD,
        changed("Photograph, imagery and mapping are nouns; name the verbs."),
        changed("请写一首关于春天的短诗"),
        changed("¿Cuál es la capital de España hoy?"),
        *(changed(f"{opening}春天来了” 这句话怎么翻译成英文") for opening in "「『《〈【〔（［｛〝“‘„‚‹«»”＂＇￥①"),
        changed("„Haus“ – welches Geschlecht hat dieses Wort?"),
        changed("‹Chat› est-il un mot masculin ou féminin ?"),
        changed("€100 sind heute wie viele US-Dollar?"),
        changed("״שלום״ היא מילה באיזו שפה בדיוק"),
        changed("\u200fاكتب قصيدة قصيرة عن الربيع"),
        changed("༄༅། བོད་སྐད་དུ་སྙན་ངག་ཅིག་འབྲི་རོགས།"),
        changed("请阅读下面的材料，" + "写一篇介绍家乡的文章" * 20),
        changed("เขียนบทกวีเกี่ยวกับฤดูใบไม้ผลิ" * 20),
        changed("ကျွန်တော့်အတွက် ကဗျာတစ်ပုဒ်ရေးပါ" * 10),
        changed("Don’t forget any word of these, and isn’t it so. " * 15),
        changed("请把这段话翻译成英文并且说明理由", "请看 https://example.com/a 这篇文章说春天是一年里最好的季节。"),
        changed("请把这段话翻译成英文", "请看https://example.com/a，这篇文章说春天是一年里最好的季节。"),
        changed('"To be or not to be" was written by whom?'),
        changed(output="None"),
        changed("Generate an output for this.", "Instruction: Name a city\nInput: France"),
        changed("Find the domain of the given URL.", "https://docs.example.com/document"),
        changed("Write this text in capital letters.", "a lamp on a desk", "A LAMP ON A DESK"),
        changed("Write the plural of this noun.", "fish", "fish"),
        changed(output="### Heading\n\n1. Output of the mill\n2. Input"),
        changed(input="Read https://example.com/a and say what the words after it mean to a child."),
    ],
)
def test_good_records_pass(example: Example) -> None:
    assert first_broken(example, FIXED_RULES) is None


@pytest.mark.parametrize(
    "text",
    [
        "<noinput>",
        "<No Input>",
        "no input",
        "N/A",
        "None.",
        "[none]",
        "-",
        "",
        '"<noinput>"',
        "\\<noinput\\>",
        "No input required.",
        "—",
        "－",
        "＜noinput＞",
        "无",
        "<无输入>",
        "（无）",
        "【没有输入】",
        "無輸入。",
        "なし",
        "（入力なし）",
        "없음",
        "[입력 없음]",
        "Нет.",
        "<нет ввода>",
        "Ninguna entrada",
        "<sin entrada>",
        "aucune entrée",
        "Pas d’entrée.",
        "Keine Eingabe",
        "«aucune»",
        "Nessun input.",
        "brak",
        "لا يوجد",
        "ندارد",
        "אין",
        "कोई नहीं",
        "ไม่มี",
        "Không có",
        "Tidak ada.",
        "(leer)",
        "〈空〉",
    ],
)
def test_every_spelling_of_no_input_becomes_empty(text: str) -> None:
    assert normalise_input(changed(input=text)).input == ""


def test_words_of_an_input_are_left_alone() -> None:
    for text in (
        "None of them came.",
        "空",
        "leer",
        "无人机",
        "нет войне",
        "なしの木",
        "1 — 2",
        "...",
        "<br>",
        "《红楼梦》",
        "nada",
    ):
        assert normalise_input(changed(input=text)).input == text


@pytest.mark.parametrize("colon", ":：︓፥")
def test_an_instance_that_ends_in_any_colon_is_refused(colon: str) -> None:
    assert first_broken(changed(output=f"The colours are{colon}"), INSTANCE_RULES) == "ends_in_colon"
