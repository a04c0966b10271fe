"""How people and models say in words that there is nothing: no input, no output."""

import re
import unicodedata

_NO_INPUT_ENGLISH = re.compile(
    r"[\s:<\[({\"'`\\]*(?:no\s*-?_?inputs?(?:\s+(?:is\s+)?(?:required|needed|necessary|provided|given))?"
    r"|none|n/?a|not applicable|empty|-+)[\s>\])}\"'`\\.,?]*",
    re.I,
)
_NO_OUTPUT_ENGLISH = re.compile(
    r"[<\[({]\s*(?:no\s*-?_?(?:out|in)put|none|n/?a|empty|-+)\s*[>\])}]\.?"
    r"|no\s*-?_?output(?:\s+(?:is\s+)?(?:required|needed|necessary|given))?\.?",
    re.I,
)
# "No input", "none" and "not applicable" as replies in these languages have them. Words for a plain "no" or "nothing"
# are left out where they do not also say that, as they may be the very word to work on.
_NONE = """
无|无输入|没有输入|无需输入|不需要输入|无须输入|暂无|没有|不适用|無|無輸入|沒有輸入|無需輸入|不需要輸入|沒有|不適用
なし|無し|入力なし|入力無し|入力はありません|入力不要|入力は不要です|特になし|該当なし
없음|입력 없음|입력없음|해당 없음|해당없음|필요 없음|입력 필요 없음|입력이 없습니다
нет|нет ввода|без ввода|нет входных данных|входные данные отсутствуют|отсутствует|отсутствуют|не требуется
не применимо|неприменимо|немає|немає вводу|немає вхідних даних|відсутнє|без вводу|няма|нема
ninguno|ninguna|ninguna entrada|sin entrada|no hay entrada|no aplica|no se requiere|no requiere entrada
nenhum|nenhuma|nenhuma entrada|sem entrada|não há entrada|não se aplica|não aplicável
aucun|aucune|aucune entrée|pas d'entrée|sans entrée|néant|sans objet|non applicable
keine|keiner|keine eingabe|keine eingaben|kein input|ohne eingabe|entfällt|nicht zutreffend|keine eingabe erforderlich
nessuno|nessuna|nessun input|nessun dato|senza input|non applicabile|cap entrada|sense entrada
geen|geen invoer|geen input|niet van toepassing|ingen|inget|ingen inmatning|ingen indata|ingen input|ingen inndata|intet
ei syötettä|ei mitään|brak|brak danych|brak danych wejściowych|brak wejścia|nie dotyczy
žádný|žádná|žádné|žádný vstup|bez vstupu|žiadny|žiadny vstup|nema|nema unosa|nincs|nincs bemenet
niciuna|niciunul|fără intrare|nicio intrare|κανένα|καμία|καμία είσοδος|χωρίς είσοδο|yok|girdi yok|giriş yok
لا يوجد|لا توجد|لا شيء|بدون|بدون مدخلات|بدون إدخال|لا يوجد إدخال|لا توجد مدخلات|لا يوجد مدخل|غير متوفر
ندارد|هیچ|هیچکدام|بدون ورودی|ورودی ندارد|کوئی نہیں|کوئی ان پٹ نہیں|אין|אין קלט|ללא|ללא קלט|לא רלוונטי
कोई नहीं|कोई इनपुट नहीं|इनपुट नहीं|लागू नहीं|কোনো ইনপুট নেই|ইনপুট নেই|নেই|இல்லை|உள்ளீடு இல்லை|లేదు|ఇన్‌పుట్ లేదు
ไม่มี|ไม่มีข้อมูล|ไม่มีข้อมูลนำเข้า|ไม่มีอินพุต|ไม่มีข้อมูลเข้า|ไม่ต้องมี|គ្មាន|មិនមាន|ບໍ່ມີ|မရှိ|မရှိပါ
không có|không có đầu vào|không có dữ liệu|không có dữ liệu đầu vào|không áp dụng
tidak ada|tidak ada input|tidak ada masukan|tanpa input|tiada|tiada input|hakuna|walang input|የለም|არა|არ არის
"""
# "Empty" is a word like others, unless it stands in brackets.
_EMPTY = """
空|空白|空欄|空输入|空輸入|비어 있음|빈칸|пусто|пустой|порожньо|vacío|vacía|vazio|vide|leer|vuoto|leeg|tom
tyhjä|puste|pusty|prázdné|üres|gol|κενό|boş|فارغ|خالی|ריק|रिक्त|खाली|ว่าง|trống|kosong|không|nada|rien|nothing|null|nil|blank
"""
_NO_OUTPUT = """
无输出|没有输出|無輸出|沒有輸出|出力なし|出力無し|출력 없음|출력없음|нет вывода|нет выходных данных
sin salida|no hay salida|sem saída|aucune sortie|pas de sortie|keine ausgabe|nessun output|geen uitvoer|brak wyjścia
çıktı yok|لا يوجد إخراج|لا توجد مخرجات|بدون خروجی|ללא פלט|אין פלט|कोई आउटपुट नहीं|ไม่มีผลลัพธ์|ไม่มีเอาต์พุต|không có đầu ra
tidak ada output|tidak ada keluaran
"""


def _folded(text: str) -> str:
    """The letters of a text and the single blanks between them, without the signs around it."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    start, end = 0, len(folded)
    while start < end and not _is_letter(folded[start]):
        start += 1
    while end > start and not _is_letter(folded[end - 1]):
        end -= 1
    return " ".join(folded[start:end].replace("_", " ").replace("-", " ").split())


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


_NONE_WORDS, _EMPTY_WORDS, _NO_OUTPUT_WORDS = (
    frozenset(_folded(phrase) for phrase in re.split(r"[|\n]", words.strip())) for words in (_NONE, _EMPTY, _NO_OUTPUT)
)


# As YAML and tables of a spreadsheet write an empty text.
_NOTHING_QUOTED = ("''", '""', "``", "“”", "‘’", "「」", "«»")
# Nobody says so in more.
_MOST_CHARACTERS = 80


def says_no_input(text: str) -> bool:
    """Whether an input is empty, or only says that there is none."""
    text = text.strip()
    if len(text) > _MOST_CHARACTERS:
        return False
    if text in _NOTHING_QUOTED:
        return True
    english = text if text.isascii() else _folded(text)
    if not text or _NO_INPUT_ENGLISH.fullmatch(english) or all(unicodedata.category(sign) == "Pd" for sign in text):
        return True
    return (folded := _folded(text)) in _NONE_WORDS or (_in_brackets(text) and folded in _EMPTY_WORDS) or text == "∅"


def says_no_output(text: str) -> bool:
    """The same of an output, where a bare "none" is an answer: only in brackets it is none."""
    text = text.strip()
    if len(text) > _MOST_CHARACTERS:
        return False
    if not text or _NO_OUTPUT_ENGLISH.fullmatch(unicodedata.normalize("NFKC", text)):
        return True
    folded = _folded(text)
    return folded in _NO_OUTPUT_WORDS or (_in_brackets(text) and folded in _NONE_WORDS | _EMPTY_WORDS)


def _in_brackets(text: str) -> bool:
    return text[0] in "<＜" or unicodedata.category(text[0]) in ("Ps", "Pi")
