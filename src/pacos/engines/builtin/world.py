"""The small world the builtin teacher knows: words, facts and sentences, all written for this project."""

import random


def _pairs(text: str) -> dict[str, str]:
    """ "a=b, c d=e" -> {"a": "b", "c d": "e"}."""
    return dict(pair.split("=") for pair in " ".join(text.split()).split(", "))


CAPITALS = _pairs(
    """France=Paris, Spain=Madrid, Italy=Rome, Germany=Berlin, Portugal=Lisbon, Poland=Warsaw, Greece=Athens,
    Austria=Vienna, Hungary=Budapest, Sweden=Stockholm, Norway=Oslo, Finland=Helsinki, Denmark=Copenhagen,
    Ireland=Dublin, Belgium=Brussels, Romania=Bucharest, Bulgaria=Sofia, Croatia=Zagreb, Serbia=Belgrade,
    Ukraine=Kyiv, Russia=Moscow, Turkey=Ankara, Egypt=Cairo, Kenya=Nairobi, Ghana=Accra, Morocco=Rabat,
    Algeria=Algiers, Tunisia=Tunis, Ethiopia=Addis Ababa, Uganda=Kampala, Japan=Tokyo, China=Beijing, India=New Delhi,
    Thailand=Bangkok, Vietnam=Hanoi, Nepal=Kathmandu, Iran=Tehran, Iraq=Baghdad, Mongolia=Ulaanbaatar,
    Canada=Ottawa, Mexico=Mexico City, Cuba=Havana, Brazil=Brasilia, Peru=Lima, Chile=Santiago, Argentina=Buenos Aires,
    Colombia=Bogota, Ecuador=Quito, Uruguay=Montevideo, Australia=Canberra"""
)
CONTINENTS = {
    country: continent
    for continent, countries in {
        "Europe": "France Spain Italy Germany Portugal Poland Greece Austria Hungary Sweden Norway Finland Denmark "
        "Ireland Belgium Romania Bulgaria Croatia Serbia Ukraine",
        "Africa": "Egypt Kenya Ghana Morocco Algeria Tunisia Ethiopia Uganda",
        "Asia": "Japan China India Thailand Vietnam Nepal Iran Iraq Mongolia",
        "North America": "Canada Mexico Cuba",
        "South America": "Brazil Peru Chile Argentina Colombia Ecuador Uruguay",
    }.items()
    for country in countries.split()
}
LANGUAGES = _pairs(
    """France=French, Spain=Spanish, Italy=Italian, Germany=German, Portugal=Portuguese, Poland=Polish, Greece=Greek,
    Hungary=Hungarian, Sweden=Swedish, Norway=Norwegian, Finland=Finnish, Denmark=Danish, Romania=Romanian,
    Ukraine=Ukrainian, Russia=Russian, Turkey=Turkish, Egypt=Arabic, Japan=Japanese, China=Chinese, Thailand=Thai,
    Vietnam=Vietnamese, Mexico=Spanish, Brazil=Portuguese, Austria=German, Argentina=Spanish, Australia=English"""
)
CURRENCIES = _pairs(
    """France=euro, Spain=euro, Italy=euro, Germany=euro, Ireland=euro, Japan=yen, India=rupee, Russia=ruble,
    China=yuan, Poland=zloty, Mexico=peso, Turkey=lira, Brazil=real, Thailand=baht, Hungary=forint, Vietnam=dong,
    Egypt=pound, Canada=dollar, Australia=dollar, Kenya=shilling, Argentina=peso, Finland=euro"""
)
OPPOSITES = _pairs(
    """hot=cold, big=small, tall=short, fast=slow, happy=sad, old=young, light=dark, hard=soft, wet=dry, full=empty,
    open=closed, early=late, rich=poor, strong=weak, loud=quiet, clean=dirty, sweet=sour, deep=shallow, wide=narrow,
    thick=thin, heavy=light, up=down, left=right, in=out, day=night, black=white, good=bad, true=false, near=far,
    high=low, long=short, sharp=blunt, smooth=rough, brave=afraid, kind=cruel, easy=difficult, first=last, push=pull,
    win=lose, buy=sell, start=stop, remember=forget, love=hate, arrive=leave, above=below, always=never, alive=dead,
    cheap=expensive, safe=dangerous, awake=asleep"""
)
SYNONYMS = _pairs(
    """big=large, small=little, happy=glad, sad=unhappy, fast=quick, smart=clever, begin=start, end=finish,
    angry=mad, quiet=silent, rich=wealthy, hard=difficult, easy=simple, brave=bold, sick=ill, tired=weary, odd=strange,
    correct=right, build=make, choose=pick, shout=yell, speak=talk, look=see, jump=leap, gift=present, road=street,
    forest=woods, stone=rock, ship=boat, child=kid, home=house, error=mistake, job=work, answer=reply, cold=chilly,
    pretty=lovely, scared=afraid, whole=entire, close=near, buy=purchase"""
)
PLURALS = _pairs(
    """cat=cats, dog=dogs, book=books, tree=trees, child=children, mouse=mice, foot=feet, tooth=teeth, man=men,
    woman=women, goose=geese, leaf=leaves, knife=knives, wolf=wolves, box=boxes, bus=buses, dish=dishes, city=cities,
    baby=babies, story=stories, party=parties, key=keys, toy=toys, day=days, potato=potatoes, tomato=tomatoes,
    hero=heroes, photo=photos, piano=pianos, sheep=sheep, fish=fish, deer=deer, person=people, ox=oxen, shelf=shelves,
    half=halves, life=lives, wife=wives, glass=glasses, peach=peaches, fox=foxes, berry=berries, lady=ladies,
    fly=flies, bench=benches, apple=apples, house=houses, horse=horses, bird=birds, river=rivers"""
)
PAST_TENSES = _pairs(
    """go=went, eat=ate, run=ran, see=saw, take=took, give=gave, write=wrote, read=read, sing=sang, swim=swam,
    drink=drank, begin=began, break=broke, speak=spoke, buy=bought, think=thought, bring=brought, teach=taught,
    catch=caught, sleep=slept, keep=kept, leave=left, feel=felt, meet=met, find=found, know=knew, grow=grew,
    throw=threw, fly=flew, draw=drew, drive=drove, ride=rode, build=built, send=sent, spend=spent, lose=lost,
    make=made, say=said, sell=sold, tell=told, walk=walked, jump=jumped, play=played, cook=cooked, paint=painted,
    open=opened, help=helped, carry=carried, study=studied, stop=stopped"""
)
PARTICIPLES = _pairs(
    """go=going, eat=eating, run=running, see=seeing, take=taking, give=giving, write=writing, read=reading,
    sing=singing, swim=swimming, drink=drinking, begin=beginning, speak=speaking, buy=buying, think=thinking,
    sleep=sleeping, make=making, ride=riding, drive=driving, sit=sitting, stop=stopping, walk=walking, jump=jumping,
    play=playing, cook=cooking, dance=dancing, bake=baking, carry=carrying, study=studying, plan=planning"""
)
COMPARATIVES = _pairs(
    """big=bigger, small=smaller, tall=taller, short=shorter, fast=faster, slow=slower, happy=happier, old=older,
    young=younger, cold=colder, hot=hotter, good=better, bad=worse, easy=easier, heavy=heavier, strong=stronger,
    weak=weaker, rich=richer, poor=poorer, clean=cleaner, dirty=dirtier, long=longer, high=higher, low=lower,
    deep=deeper, wide=wider, thin=thinner, loud=louder, kind=kinder, brave=braver, far=farther, nice=nicer"""
)
SUPERLATIVES = _pairs(
    """big=biggest, small=smallest, tall=tallest, short=shortest, fast=fastest, slow=slowest, happy=happiest,
    old=oldest, young=youngest, cold=coldest, hot=hottest, good=best, bad=worst, easy=easiest, heavy=heaviest,
    strong=strongest, weak=weakest, rich=richest, poor=poorest, clean=cleanest, dirty=dirtiest, long=longest,
    high=highest, low=lowest, deep=deepest, wide=widest, thin=thinnest, loud=loudest, kind=kindest, nice=nicest"""
)
ADVERBS = _pairs(
    """quick=quickly, slow=slowly, happy=happily, sad=sadly, loud=loudly, quiet=quietly, careful=carefully,
    easy=easily, angry=angrily, brave=bravely, kind=kindly, soft=softly, strong=strongly, clear=clearly,
    sudden=suddenly, gentle=gently, good=well, bad=badly, warm=warmly, polite=politely, nice=nicely,
    proud=proudly, calm=calmly,
    simple=simply, lazy=lazily, honest=honestly, bright=brightly, rough=roughly"""
)
YOUNG = _pairs(
    """dog=puppy, cat=kitten, cow=calf, horse=foal, sheep=lamb, pig=piglet, goat=kid, hen=chick, duck=duckling,
    goose=gosling, lion=cub, bear=cub, deer=fawn, frog=tadpole, kangaroo=joey, swan=cygnet, owl=owlet, elephant=calf,
    fox=cub, wolf=pup, seal=pup, whale=calf, eagle=eaglet, rabbit=kit, butterfly=caterpillar"""
)
SOUNDS = _pairs(
    """dog=bark, cat=meow, cow=moo, sheep=baa, pig=oink, duck=quack, lion=roar, snake=hiss, bee=buzz, frog=croak,
    owl=hoot, horse=neigh, wolf=howl, hen=cluck, mouse=squeak, crow=caw, turkey=gobble, donkey=bray, goose=honk,
    rooster=crow, bird=tweet, elephant=trumpet"""
)
ANIMAL_HOMES = _pairs(
    """bee=hive, bird=nest, spider=web, dog=kennel, horse=stable, bear=den, rabbit=burrow, pig=sty, hen=coop,
    cow=barn, ant=anthill, beaver=lodge, lion=den, fox=den, wasp=nest, fish=aquarium"""
)
GROUPS = _pairs(
    """lion=pride, wolf=pack, fish=school, bird=flock, cow=herd, bee=swarm, sheep=flock, elephant=herd, ant=colony,
    goose=gaggle, crow=murder, whale=pod, dolphin=pod, puppy=litter, kitten=litter, deer=herd"""
)
CLASSES = {
    animal: kind
    for kind, animals in {
        "mammal": "dog cat cow horse lion bear whale elephant rabbit mouse wolf fox deer monkey dolphin tiger",
        "bird": "hen duck goose owl eagle crow swan penguin parrot robin sparrow pigeon",
        "fish": "salmon trout shark tuna cod carp herring",
        "insect": "ant bee wasp butterfly beetle mosquito moth cricket",
        "reptile": "snake lizard turtle crocodile gecko",
    }.items()
    for animal in animals.split()
}
CATEGORIES = {
    thing: category
    for category, things in {
        "fruit": "apple banana pear grape lemon cherry peach plum orange mango",
        "vegetable": "carrot onion potato cabbage spinach pea leek radish",
        "animal": "dog cat horse tiger rabbit monkey goat camel",
        "tool": "hammer saw drill wrench axe spade rake chisel",
        "furniture": "table chair bed sofa desk shelf wardrobe stool",
        "clothing": "shirt coat hat sock glove scarf skirt jacket",
        "vehicle": "car bus train truck bicycle van tram boat",
        "instrument": "piano guitar violin drum flute trumpet harp cello",
        "colour": "red blue green yellow purple brown pink grey",
        "drink": "water milk tea coffee juice lemonade",
        "sport": "football tennis hockey boxing rugby golf",
    }.items()
    for thing in things.split()
}
COLOURS = _pairs(
    """banana=yellow, grass=green, snow=white, coal=black, blood=red, sky=blue, carrot=orange, lemon=yellow,
    strawberry=red, frog=green, milk=white, chocolate=brown, sun=yellow, tomato=red, leaf=green, cloud=white,
    night=black, pumpkin=orange, salt=white, crow=black, cucumber=green, cherry=red, flamingo=pink, sea=blue"""
)
MATERIALS = _pairs(
    """window=glass, table=wood, book=paper, ring=gold, coat=wool, shoe=leather, nail=iron, bottle=plastic,
    brick=clay, candle=wax, tyre=rubber, shirt=cotton, coin=metal, door=wood, mirror=glass, newspaper=paper,
    sock=wool, statue=stone, rope=hemp, belt=leather, pot=clay, tie=silk, jumper=wool, can=tin"""
)
WORKPLACES = _pairs(
    """teacher=school, doctor=hospital, farmer=farm, chef=kitchen, judge=court, pilot=aeroplane, sailor=ship,
    baker=bakery, librarian=library, actor=theatre, nurse=hospital, soldier=army, mechanic=garage, priest=church,
    scientist=laboratory, waiter=restaurant, banker=bank, artist=studio, miner=mine, clerk=office"""
)
TOOLS = _pairs(
    """carpenter=saw, painter=brush, writer=pen, gardener=spade, tailor=needle, barber=scissors, cook=pan,
    builder=hammer, photographer=camera, fisherman=net, doctor=stethoscope, drummer=drum, lumberjack=axe,
    cleaner=broom, astronomer=telescope, dentist=drill, plumber=wrench, sculptor=chisel"""
)
DEFINITIONS = _pairs(
    """island=land with water all around it, desert=a dry place with little rain, kitchen=a room for cooking,
    library=a place that lends books, umbrella=a cover that keeps off rain, calendar=a list of the days of a year,
    orphan=a child without parents, thief=a person who steals, bridge=a way over a river,
    ladder=a set of steps for climbing, volcano=a mountain that throws out fire, dentist=a doctor for teeth,
    bakery=a shop that sells bread, hive=a home for bees, clock=a device that shows the time,
    pillow=a soft rest for the head, winter=the coldest season, harbour=a safe place for ships,
    diary=a book of daily notes, neighbour=a person who lives next door, autumn=the season when leaves fall,
    passport=a paper for travel to other lands, recipe=a list of steps for cooking, garden=a place where flowers grow,
    engine=a machine that gives power, barn=a farm building for animals, map=a drawing of a place,
    tunnel=a way under the ground, student=a person who learns, soap=a thing for washing"""
)
GENDERS = _pairs(
    """king=queen, prince=princess, father=mother, brother=sister, son=daughter, uncle=aunt, husband=wife,
    boy=girl, man=woman, actor=actress, waiter=waitress, nephew=niece, grandfather=grandmother, hero=heroine,
    duke=duchess, emperor=empress, host=hostess, bull=cow, rooster=hen, lion=lioness, gentleman=lady, wizard=witch"""
)
SPANISH = _pairs(
    """cat=gato, dog=perro, house=casa, water=agua, bread=pan, milk=leche, book=libro, sun=sol, moon=luna,
    friend=amigo, red=rojo, blue=azul, green=verde, one=uno, two=dos, three=tres, table=mesa, school=escuela,
    night=noche, day=dia, hand=mano, tree=arbol, street=calle, city=ciudad, king=rey, yes=si, good=bueno, fish=pez"""
)
FRENCH = _pairs(
    """cat=chat, dog=chien, house=maison, water=eau, bread=pain, milk=lait, book=livre, sun=soleil, moon=lune,
    friend=ami, red=rouge, blue=bleu, green=vert, one=un, two=deux, three=trois, table=table, school=ecole,
    night=nuit, day=jour, hand=main, tree=arbre, street=rue, city=ville, king=roi, yes=oui, good=bon, fish=poisson"""
)
SYMBOLS = _pairs(
    """oxygen=O, hydrogen=H, carbon=C, nitrogen=N, gold=Au, silver=Ag, iron=Fe, copper=Cu, helium=He, sodium=Na,
    zinc=Zn, tin=Sn, lead=Pb, neon=Ne, calcium=Ca, iodine=I, sulfur=S, nickel=Ni, mercury=Hg, potassium=K"""
)
SHAPES = _pairs(
    "triangle=three, square=four, rectangle=four, pentagon=five, hexagon=six, heptagon=seven, octagon=eight, "
    "nonagon=nine, decagon=ten, rhombus=four"
)
SEASONS = _pairs(
    """January=winter, February=winter, March=spring, April=spring, May=spring, June=summer, July=summer,
    August=summer, September=autumn, October=autumn, November=autumn, December=winter"""
)
CONTRACTIONS = _pairs(
    """do not=don't, is not=isn't, can not=can't, will not=won't, are not=aren't, did not=didn't, was not=wasn't,
    I am=I'm, you are=you're, we are=we're, they are=they're, it is=it's, he is=he's, she is=she's, I have=I've,
    we have=we've, I will=I'll, you will=you'll, should not=shouldn't, has not=hasn't, could not=couldn't,
    have not=haven't, were not=weren't, they have=they've, we will=we'll, that is=that's"""
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = tuple(SEASONS)
WOMEN = ("Anna", "Clara", "Emma", "Grace", "Julia", "Lucy", "Maria", "Nora", "Olga", "Rosa", "Sara", "Vera")
MEN = ("Adam", "Ben", "David", "Felix", "Henry", "Ivan", "Jack", "Leo", "Mark", "Oscar", "Peter", "Tom")
NAMES = WOMEN + MEN
PLACES = (
    "market", "school", "station", "library", "beach", "park", "museum", "office", "garden", "hospital", "theatre",
    "bakery", "harbour", "castle", "village", "bank",
)  # fmt: skip
ADJECTIVES = (
    "red", "old", "big", "small", "green", "happy", "quiet", "young", "clean", "heavy", "blue", "soft", "warm", "cold",
    "bright", "dark", "tall", "new", "round", "sweet", "kind", "brave", "white", "empty",
)  # fmt: skip
NOUNS = (
    "cat", "dog", "book", "tree", "house", "river", "apple", "table", "chair", "bird", "horse", "stone", "door",
    "window", "road", "ship", "cloud", "garden", "bread", "lamp", "clock", "coat", "hat", "key", "letter", "box",
    "cup", "plate", "bridge", "mountain", "forest", "field", "train", "bicycle", "boat", "flower", "star", "moon",
    "snow", "rain", "wind", "fire", "water", "milk", "salt", "paper", "pencil", "ball", "drum", "violin", "shirt",
    "shoe", "spoon", "knife", "basket", "candle", "carpet", "mirror", "pillow", "ladder", "hammer", "needle", "farmer",
    "teacher", "doctor", "baker", "sailor", "queen", "king", "child", "rabbit", "tiger", "monkey", "lemon", "carrot",
)  # fmt: skip
PEOPLE = (
    "farmer",
    "teacher",
    "doctor",
    "baker",
    "sailor",
    "queen",
    "king",
    "child",
    "painter",
    "judge",
    "nurse",
    "cook",
)
THINGS = (
    "book", "apple", "table", "chair", "door", "window", "ship", "lamp", "clock", "coat", "hat", "key", "letter", "box",
    "cup", "plate", "bicycle", "boat", "flower", "pencil", "ball", "drum", "violin", "shirt", "shoe", "spoon", "knife",
    "basket", "candle", "carpet", "mirror", "pillow", "ladder", "hammer", "needle", "lemon", "carrot",
)  # fmt: skip
VERBS = (
    "run", "sing", "walk", "sleep", "eat", "write", "read", "swim", "jump", "cook", "play", "dance", "paint", "build",
    "open", "carry", "find", "bring", "drink", "teach",
)  # fmt: skip
# What people do, in the three forms the sentence skills need.
ACTIONS = tuple(
    tuple(action.split("/"))
    for action in (
        "plays/played/play", "walks/walked/walk", "cooks/cooked/cook", "paints/painted/paint", "works/worked/work",
        "rests/rested/rest", "dances/danced/dance", "waits/waited/wait", "sings/sang/sing", "reads/read/read",
        "runs/ran/run", "sleeps/slept/sleep", "swims/swam/swim", "writes/wrote/write", "laughs/laughed/laugh",
        "studies/studied/study",
    )
)  # fmt: skip
WHEN = ("in the park", "at home", "at school", "in the garden", "near the river", "by the sea", "in the kitchen",
        "after lunch", "every day", "in the morning", "with a friend", "in the city")  # fmt: skip
FEELINGS = ("happy", "tired", "hungry", "ready", "late", "busy", "kind", "brave", "sick", "proud", "angry", "calm")
LIKED = ("great", "wonderful", "lovely", "excellent", "delicious", "perfect", "charming", "brilliant")
DISLIKED = ("awful", "terrible", "boring", "horrible", "disgusting", "dreadful", "useless", "broken")
REVIEWED = ("film", "book", "meal", "hotel", "song", "game", "soup", "phone", "concert", "cake", "trip", "show")
UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth",
    "twentieth",
)  # fmt: skip


def number_word(number: int) -> str:
    """English name of 0 to 100."""
    if number == 100:
        return "one hundred"
    if number < 20:
        return UNITS[number]
    tens, units = divmod(number, 10)
    return TENS[tens] + (f"-{UNITS[units]}" if units else "")


def roman(number: int) -> str:
    """Roman numeral of 1 to 39."""
    tens, units = divmod(number, 10)
    return "X" * tens + ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")[units]


def words(rng: random.Random, count: int) -> list[str]:
    """Different common words."""
    return rng.sample(NOUNS + ADJECTIVES, count)


def scene(rng: random.Random) -> str:
    """A short sentence without its full stop, such as "the old baker opened a red door"."""
    verb = rng.choice(("saw", "found", "painted", "carried", "sold", "liked", "lost", "bought", "cleaned", "made"))
    subject, thing = rng.choice(PEOPLE), rng.choice(THINGS)
    first, second = rng.sample(ADJECTIVES, 2)
    whose = rng.choice(("the", "my", "her", "his"))
    return rng.choice(
        (
            f"the {first} {subject} {verb} {whose} {second} {thing}",
            f"the {subject} {verb} {with_article(second)} {thing}",
            f"{rng.choice(NAMES)} {verb} {whose} {second} {thing}",
            f"{rng.choice(NAMES)} {verb} {with_article(thing)}",
        )
    )


def with_article(noun: str) -> str:
    """ "cat" -> "a cat", "apple" -> "an apple"."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
