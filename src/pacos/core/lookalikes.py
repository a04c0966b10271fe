"""Characters that a reader takes for others: letters of other scripts drawn like Latin ones, and what is not drawn."""

import re
import unicodedata
from functools import lru_cache

# By script: its letters and the Latin ones that they are drawn like. A capital stands where it looks otherwise than its
# small letter does.
_PAIRS = (
    # Cyrillic
    *zip("абвгԁеѕіїјкмнорԛгстѵԝхуһѡьӏԍӀ", "abbrdesiijkmhopqrctvwxyhwblgl", strict=True),
    *zip("ВНР", "bhp", strict=True),
    # Greek, and Coptic drawn like it
    *zip("αβγεζηικμνορσςτυχωϲϳπΗΝΜΥ", "abyeznikuvopostuxwcjnhnmy", strict=True),
    *zip("ⲁⲃⲉⲍⲏⲓⲕⲙⲛⲟⲣⲥⲧⲩⲭⲱ", "abezhikmnopctyxw", strict=True),
    # Armenian
    *zip("օոռսհցզգյՏԼ", "onnuhgqqjsl", strict=True),
    # Hebrew, Arabic, Myanmar, Oriya, Malayalam, Hangul
    *zip("סון٥۵ههဝଠഠㅇ", "olloooooooo", strict=True),
    # Cherokee
    *zip("ᎠᎡᎢᎥᎩᎪᎫᎬᎳᎷᎻᎾᏀᏃᏏᏐᏒᏔᏙᏚᏞᏟᏢᏦᏴ", "drtiyajewmhogzbgrwvslcpkb", strict=True),
    # Lisu
    *zip("ꓐꓑꓓꓔꓖꓗꓙꓚꓜꓝꓟꓠꓡꓢꓣꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴ", "bpdtgkjczfmnlsrvhwxyaeiou", strict=True),
    # Canadian syllabics and runes
    *zip("ᗩᗷᑕᗪᗴᖴᕼᒍᒪᗰᑎᑭᖇᔕᑌᐯᗯ᙭", "abcdefhjlmnprsuvwx", strict=True),
    *zip("ᛕᚱᛖᛒᚺᚻᛁᚷ", "krmbhhix", strict=True),
    # Deseret, Gothic and Old Italic
    *zip("𐐬𐐽𐑈𐌀𐌁𐌂𐌄𐌏𐌑𐍈𐍄", "ocsabceomot", strict=True),
    *zip("’ʼ`´", "''''", strict=True),
    *zip("ℓꞵɑ", "lba", strict=True),
)
_DRAWN_LIKE = dict(_PAIRS)
# Latin letters that Unicode does not take apart: of small capitals, in boxes and discs, with strokes, turned.
_NAMED = re.compile(
    r"(?:LATIN .*?LETTER|(?:NEGATIVE |CROSSED )?(?:SQUARED|CIRCLED) LATIN CAPITAL LETTER|"
    r"REGIONAL INDICATOR SYMBOL LETTER)"
    r"(?: SMALL CAPITAL| SCRIPT| DOTLESS| TURNED| REVERSED| OPEN| ALPHA| BARRED)* ([A-Z])(?: WITH .*)?"
)
# Drawn as nothing, though Unicode has them among letters and marks: fillers, joiners and variation selectors.
_BLANK_LETTERS = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10), *range(0x180B, 0x180E)))
) | frozenset(map(chr, range(0xE0100, 0xE01F0)))


@lru_cache(maxsize=4096)
def drawn_like(char: str) -> str:
    """The Latin letter or the digit that this one character of another script looks like, in small; else itself."""
    if char.isascii():
        return char
    found = _DRAWN_LIKE.get(char) or _DRAWN_LIKE.get(char.lower()) or _DRAWN_LIKE.get(char.upper())
    if found:
        return found
    if named := _NAMED.fullmatch(unicodedata.name(char, "")):
        return named[1].lower()
    digit = unicodedata.decimal(char, None)
    plain = unicodedata.normalize("NFKC", char) if digit is None else str(digit)
    return plain.lower() if len(plain) == 1 and plain.isascii() else char


@lru_cache(maxsize=4096)
def is_invisible(char: str) -> bool:
    """Whether a character takes no place on the screen, or only that of a box for what no font has."""
    return char in _BLANK_LETTERS or (unicodedata.category(char)[0] == "C" and not char.isspace())
