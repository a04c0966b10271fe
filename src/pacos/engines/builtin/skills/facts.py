"""Skills that look something up in the world."""

from pacos.engines.builtin import world
from pacos.engines.builtin.skills.skill import Skill, fact


def _invert(pairs: dict[str, str]) -> dict[str, str]:
    return {value: key for key, value in pairs.items()}


FACTS = (
    Skill(
        "capital", "facts", fact(world.CAPITALS),
        ask=("What is the capital of {x}?", "Name the capital city of {x}.", "Tell me which city is the capital of {x}.",
             "{x} has a capital. Which city is it?"),
        ask_input=("Name the capital of the given country.", "Which city is the capital of this country?",
                   "For the country below, write its capital."),
        say=('The capital of {x} is "{y}".', "{y} is the capital of {x}.", "{y} is the capital city of {x}.",
             "Asked for the capital of {x}, {who} said {y}.", '{x}: the capital is "{y}".'),
    ),
    Skill(
        "country_of_capital", "facts", fact(_invert(world.CAPITALS)),
        ask=("Which country has {x} as its capital?", "{x} is the capital of which country?",
             "Name the country whose capital is {x}."),
        ask_input=("Name the country that has this capital city.", "The input is a capital city. Which country is it in?"),
        say=('The country with the capital {x} is "{y}".', "{y} has {x} as its capital.",
             '"{x}" is the capital of the country "{y}".', "{who} flew to {x}, the capital of {y}."),
    ),
    Skill(
        "continent", "facts", fact(world.CONTINENTS),
        ask=("On which continent is {x}?", "Which continent does {x} belong to?", "Name the continent where {x} lies."),
        ask_input=("On which continent does this country lie?", "Name the continent of the given country."),
        say=('The continent of {x} is "{y}".', "{x} lies in {y}.", "{y} is the continent where {x} lies.",
             '"{x}" is a country on the continent "{y}".'),
    ),
    Skill(
        "language", "facts", fact(world.LANGUAGES),
        ask=("Which language do people speak in {x}?", "Name the main language of {x}.",
             "What language would I hear in {x}?"),
        ask_input=("Which language is spoken in this country?", "Name the main language of the given country."),
        say=('The language of {x} is "{y}".', "In {x} people speak {y}.", "{y} is the language that people speak in {x}.",
             "{who} went to {x} and learned {y}."),
    ),
    Skill(
        "currency", "facts", fact(world.CURRENCIES),
        ask=("What money do people pay with in {x}?", "Name the currency of {x}.", "Which currency is used in {x}?"),
        ask_input=("Name the currency of the given country.", "Which money is used in this country?"),
        say=('The currency of {x} is "{y}".', "In {x} people pay with the {y}.", '"{y}" is the name of the money in "{x}".'),
    ),
    Skill(
        "young_animal", "facts", fact(world.YOUNG),
        ask=("What is a young {x} called?", "Name the baby of {a_x}.", "How do we call a baby {x}?"),
        ask_input=("What is the young of this animal called?", "Name the baby of the given animal."),
        say=('A young {x} is called "{y}".', 'The baby of the "{x}" is the "{y}".', "{y} is the word for a young {x}.",
             "The {x} had a baby, a little {y}."),
    ),
    Skill(
        "animal_sound", "facts", fact(world.SOUNDS),
        ask=("What sound does {a_x} make?", "Name the sound that {a_x} makes.", "Which word describes the noise of {a_x}?"),
        ask_input=("Which sound does this animal make?", "Name the noise made by the given animal."),
        say=('The sound of {a_x} is "{y}".', 'The "{x}" makes the sound "{y}".', "{y} is the sound that {a_x} makes."),
    ),
    Skill(
        "animal_home", "facts", fact(world.ANIMAL_HOMES),
        ask=("Where does {a_x} live?", "Name the home of {a_x}.", "What is the place called where {a_x} lives?"),
        ask_input=("Name the home of this animal.", "In what kind of home does the given animal live?"),
        say=('The home of {a_x} is the "{y}".', 'The "{x}" lives in the "{y}".', "{y} is the home of the {x}."),
    ),
    Skill(
        "animal_group", "facts", fact(world.GROUPS),
        ask=("What is a group of {x} animals called?", "Name the word for many of the animal {x} together.",
             "Which word names a group when the animal is {a_x}?"),
        ask_input=("Which word names a group of this animal?", "Name the group word for the given animal."),
        say=('The group word for the {x} is "{y}".', 'Many of the animal "{x}" together are the "{y}".',
             "{y} is the word for a group of the animal {x}."),
    ),
    Skill(
        "animal_class", "facts", fact(world.CLASSES),
        ask=("Is {a_x} a mammal, bird, fish, insect or reptile?", "To which animal class does the {x} belong?",
             "Classify the {x} as mammal, bird, fish, insect or reptile."),
        ask_input=("Classify this animal as mammal, bird, fish, insect or reptile.",
                   "Which animal class does the given animal belong to?"),
        say=('The animal class of the {x} is "{y}".', "The {x} is a kind of {y}.", '"{x}" belongs to the class "{y}".',
             "Every {x} is {a_y}."),
        chance=0.2,
    ),
    Skill(
        "category", "facts", fact(world.CATEGORIES),
        ask=('What kind of thing is "{x}"?', 'Name the category that "{x}" belongs to.', "In one word, what is {x}?",
             'Put "{x}" into a category such as fruit, tool or sport.'),
        ask_input=("What kind of thing is this?", "Name the category of the given word, such as fruit, tool or sport."),
        say=('"{x}" is a kind of "{y}".', 'The category of "{x}" is "{y}".', "{y} is the category of {x}.",
             "{who} put {x} on the list under {y}."),
    ),
    Skill(
        "colour", "facts", fact(world.COLOURS),
        ask=('What colour is "{x}" usually?', 'Name the usual colour of "{x}".', 'Which colour fits the word "{x}"?'),
        ask_input=("Which colour does this thing usually have?", "Name the usual colour of the given thing."),
        say=('The colour of "{x}" is "{y}".', 'The usual colour of {x} is {y}.', "{y} is the colour of {x}.",
             "{who} painted {x} in {y}, as it is."),
    ),
    Skill(
        "material", "facts", fact(world.MATERIALS),
        ask=("What is {a_x} usually made of?", "Name the material of {a_x}.", "Which material do we use to make {a_x}?"),
        ask_input=("What is this thing usually made of?", "Name the usual material of the given object."),
        say=('{A_x} is made of "{y}".', 'The material of the "{x}" is "{y}".', "{y} is used to make {a_x}."),
    ),
    Skill(
        "workplace", "facts", fact(world.WORKPLACES),
        ask=("Where does {a_x} work?", "Name the place where {a_x} works.", "At which place would I find {a_x} at work?"),
        ask_input=("Name the place where this person works.", "Where does a person with the given job work?"),
        say=('The workplace of {a_x} is the "{y}".', 'The "{x}" works in the "{y}".', "{y} is where the {x} works.",
             "{who} is {a_x} and goes to the {y} every day."),
    ),
    Skill(
        "tool_of_trade", "facts", fact(world.TOOLS),
        ask=("Which tool does {a_x} use?", "Name the tool of {a_x}.", "What does {a_x} hold in the hand at work?"),
        ask_input=("Which tool does a person with this job use?", "Name the tool for the given job."),
        say=('The tool of {a_x} is the "{y}".', 'The "{x}" works with the "{y}".', "{y} is the tool of the {x}."),
    ),
    Skill(
        "define", "facts", fact(world.DEFINITIONS),
        ask=('What does the word "{x}" mean?', 'Define "{x}" in a few words.', "Give a short definition of {x}.",
             "Explain in a few words what {x} means."),
        ask_input=("Define this word in a few words.", "Give a short definition of the given word."),
        say=('The word "{x}" means "{y}".', '"{x}" means {y}.', "{x}: {y}.", "{who} looked up {x} and read: {y}."),
    ),
    Skill(
        "word_for", "facts", fact(_invert(world.DEFINITIONS)),
        ask=('Which word means "{x}"?', "Name the word for this: {x}.", "Find one word for {x}."),
        ask_input=("Which word fits this definition?", "Write the word that is defined here."),
        say=('The word for "{x}" is "{y}".', '"{x}" is called "{y}".', "{y} is the word for {x}."),
    ),
    Skill(
        "chemical_symbol", "facts", fact(world.SYMBOLS),
        ask=("What is the chemical symbol for {x}?", "Write the symbol of the element {x}.",
             "Which symbol stands for {x} in chemistry?"),
        ask_input=("Write the chemical symbol of this element.", "Which symbol stands for the given element?"),
        say=('The symbol of {x} is "{y}".', 'The chemical symbol for "{x}" is "{y}".', "{y} is the symbol of {x}."),
    ),
    Skill(
        "shape_sides", "facts", fact(world.SHAPES),
        ask=("How many sides does {a_x} have? Write the number as a word.", "Count the sides of {a_x} and write the word.",
             "{A_x} has how many sides, in words?"),
        ask_input=("How many sides does this shape have? Use a word.", "Write as a word how many sides the given shape has."),
        say=('The number of sides of {a_x} is "{y}".', "{A_x} has {y} sides.", '"{x}" has sides: "{y}".'),
    ),
    Skill(
        "season", "facts", fact(world.SEASONS),
        ask=("Which season is {x} in the north?", "In what season of the year does {x} fall in Europe?",
             "Name the season for the month {x}."),
        ask_input=("Name the season of this month in Europe.", "Which season does the given month belong to in the north?"),
        say=('The season of {x} is "{y}".', "{x} falls in {y}.", "{y} is the season of {x}.",
             '"{x}" belongs to "{y}".'),
        chance=0.25,
    ),
)  # fmt: skip
