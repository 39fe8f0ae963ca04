"""English words as the semantic gate reads them: those that carry no meaning of their own, numbers, and synonyms.

Only tables. A word that is in none of them has to be on both sides of a comparison.
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Of the form of a request, not of its matter. `in`, `on` and the like tie words together; what they tie is compared.
FILLERS = _words(
    """
    a an the this that these those there here it its itself i me my mine myself we us our ours you your yours yourself
    one ones somebody someone person people he him his she her hers they them their theirs
    am is are was were be been being do does did doing done have has had having
    can could will would shall should may might must ought let go going goes gone
    what which how whether if then so as than too also just even ever still already please
    of to in on at for from by with into onto about as and or but via through upon per between
    some any such other same certain various
    necessary permitted possible able allowed
    way ways step steps procedure process method methods manner instruction instructions guide
    need needs needed require required use using used help helps good best right proper properly easily easy simply
    quickly exactly really very mean means meaning called exist exists existing kind type types
    thing things something anything stuff bit lot lots okay ok well command syntax
    get gets getting got make makes making made
    """
)
# Likewise, but only before the first word that matters: "show me how", and not "the show".
OPENERS = _words(
    """
    explain describe define summarize summary tell show shows teach say hear want wants like know suggest recommend
    advise find found see look provide idea ideas tip tips question questions answer helping
    """
)
# With these alone it has not begun.
INTERROGATIVES = _words("when where who why amount number duration")
# Between two words that are one thing: "the jar that is stuck" is "the stuck jar".
LINKS = _words("a an the of in on at for from to my your our his her their its is are that which who")
NEGATIONS = _words("not no never none nobody nothing neither nor cannot without hardly nowhere")

_UNITS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty
"""
_ORDINALS = """
    zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth
    fifteenth sixteenth seventeenth eighteenth nineteenth twentieth
"""
_TENS = "thirty forty fifty sixty seventy eighty ninety"
NUMBERS = {
    **{word: str(number) for number, word in enumerate(_UNITS.split()) if word != "one"},  # mostly a pronoun
    **{word: str(number) for number, word in enumerate(_ORDINALS.split())},
    **{word: str(10 * number) for number, word in enumerate(_TENS.split(), 3)},
    "hundred": "100",
    "thousand": "1000",
    "million": "1000000",
    "billion": "1000000000",
    "dozen": "12",
    "half": "0.5",
    "twice": "2",
    "double": "2",
    "triple": "3",
    "ii": "2",
    "iii": "3",
    "iv": "4",
    "vi": "6",
    "vii": "7",
    "viii": "8",
    "ix": "9",
}

# Several words for one, before anything else is read. What is caught between them stays.
PHRASES = tuple(
    (re.compile(rf"\b(?:{pattern})(?!\w)", re.IGNORECASE), word)
    for pattern, word in (
        (r"(?:turn|switch|shut)(ed|ing|s)?((?: [\w'-]+){0,4}?) off", r"disable\2"),
        (r"(?:turn|switch)(ed|ing|s)?((?: [\w'-]+){0,4}?) on", r"enable\2"),
        (r"how (?:tall|high)", "height"),
        (r"how (?:deep)", "depth"),
        (r"how (?:wide|broad)", "width"),
        (r"how (?:heavy)|how much does ((?:[\w'-]+ ){1,5})weigh", r"weight \1"),
        (r"how (?:far)", "distance"),
        (r"how (?:fast|quick|quickly)", "speed"),
        (r"how (?:old)", "age"),
        (r"how (?:often|frequently)", "frequency"),
        (r"how (?:long)|how many (?:hours|days|weeks|months|years)", "duration"),
        (r"how many people live|how many inhabitants", "population"),
        (r"how much does ((?:[\w'-]+ ){1,5})cost|how expensive", r"price \1"),
        (r"(?:every|each) (day|night|week|month|year|hour|morning|evening)", r"\1"),
        (r"how (?:many)|what number of", "number"),
        (r"(?:how much|what amount)(?: of)?", "amount"),
        (r"(?:in|on|at)? ?(?:what|which) (?:year|time|date|day)", "when"),
        (r"(?:in|at)? ?(?:what|which) (?:place)", "where"),
        (r"for (?:what|which) reason|what(?:'s| is| are) the reasons?(?: that| why| for)?", "why"),
        (r"what causes|what makes|how come", "why"),
        (r"when is the (?:best|right|ideal) time", "the time"),
        (r"how do (?:you|i|we|they) say (?=['\"‘“])", "translate "),
        (r"(?:what|which) person", "who"),
        (r"place where", "where"),
        (r"(?:word|term|phrase|expression) (?=['\"‘“])", ""),
        (r"(status|error|exit) code", r"\1"),
        (r"(pdf|csv|excel|word|json|xml|zip) (?:file|document|sheet|spreadsheet)s?", r"\1"),
        (r"(free|back|set|hang|clean|fill|pick|wake|heat|warm|speed)(?:ing|s|ed)? up", r"\1"),
        (r"(?:a |the )?(?:\w+ )?recipe for", "make"),
        (r"(?:of|for|in) (?:my|your|the) account", ""),
        (r"get rid of", "remove"),
        (r"give me", ""),
        (r"(?:a |the )?list of", ""),
        (r"^list", ""),
        (r"what(?:'s| is) ((?:[\w'-]+ ){1,3})like", r"what is \1"),
        (r"steps (should|do|must) i take", "steps"),
        (r"(?:does|will|would) it take", "does it"),
        (r"get in touch with", "contact"),
        (r"money back", "refund"),
        (r"instead of", "substitute"),
    )
)  # fmt: skip

# Each word stands for the first of its line.
_SYNONYMS = """
    delete remove erase
    fix repair mend correct
    stop quit
    differ different difference
    all every each
    price cost fee
    buy purchase
    begin start
    phone smartphone cellphone mobile
    photo picture image
    movie film
    car automobile
    big large
    child kid children kids
    man men
    woman women
    foot feet
    tooth teeth
    mouse mice
    leaf leaves
    knife knives
    trip journey
    illness sickness disease
    shop store
    speak talk
    reply respond answer
    end finish
    largest biggest greatest
    fastest quickest
    email e-mail
    television tv
    fridge refrigerator
    advertisement ad ads
    information info
    app application
    exam test
    money cash
    holiday vacation
    parcel package
    near close nearest closest
    fast quick
    error mistake
    change modify edit alter
    author wrote written writer
    write compose draft
    cancel revert undo
    storage space
    doctor physician
    live lifespan
    pair connect
    switch turn
    meal dish
    city town
    laptop notebook
    wifi wi-fi wireless
    color colour
    tyre tire
    licence license
    calculate compute
    frequency often frequently
    size dimension dimensions
    board plane
    clothes wear
    height tall
    who artist
    forget forgot forgotten
    send sent
    pay paid payment
    buy bought
    sell sold
    lose lost
    win won
    break broke broken
    freeze froze frozen
    steal stole stolen
    eat ate eaten
    grow grew grown
    speak spoke spoken
    begin began begun
    build built
    keep kept
    choose chose chosen
"""
SYNONYMS = {word: line.split()[0] for line in _SYNONYMS.strip().splitlines() for word in line.split()[1:]}
