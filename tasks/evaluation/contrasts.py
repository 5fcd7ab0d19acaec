"""English words and phrases, and what in their place says something else."""

from __future__ import annotations

# Each line is a group: a word is replaced by another of its group. "one" is left out, as it is mostly a pronoun.
NUMBER_WORDS = """
two three four five six seven eight nine ten eleven twelve
thirteen fourteen fifteen sixteen seventeen eighteen nineteen
twenty thirty forty fifty sixty seventy eighty ninety
hundred thousand million billion trillion
dozens hundreds thousands millions billions
first second third fourth fifth sixth seventh eighth ninth tenth
double triple quadruple
"""

CALENDAR = """
Monday Tuesday Wednesday Thursday Friday Saturday Sunday
January February March April June July August September October November December
"""

# Capitalised beside a name, and no name alone.
TITLES = """
Mr Mrs Ms Dr Prof Professor Sir Lord Lady St Saint King Queen Pope President Prime Minister
"""

# Each pair is used in both directions.
OPPOSITES = """
increase/decrease increases/decreases increased/decreased increasing/decreasing
more/less higher/lower highest/lowest high/low larger/smaller largest/smallest large/small
bigger/tinier big/little longer/shorter longest/shortest long/short greater/lesser wide/narrow
earlier/later early/late before/after older/younger oldest/youngest old/new ancient/modern
better/worse best/worst good/bad positive/negative success/failure successful/unsuccessful
always/never often/rarely usually/seldom frequently/infrequently many/few most/least
above/below inside/outside upper/lower
north/south northern/southern east/west eastern/western
strong/weak stronger/weaker hot/cold warm/cool dry/wet heavier/lighter fast/slow faster/slower
rich/poor cheap/expensive easy/difficult safe/dangerous clean/dirty full/empty healthy/sick
possible/impossible legal/illegal likely/unlikely able/unable known/unknown common/rare
public/private open/closed opened/closed guilty/innocent true/false real/fake alive/dead
male/female men/women man/woman boys/girls boy/girl day/night morning/evening war/peace
win/lose won/lost winning/losing rise/fall rises/falls rose/fell begin/finish began/finished
started/stopped start/stop accept/reject accepted/rejected allow/forbid allowed/forbidden
agree/disagree agreed/disagreed support/oppose supported/opposed supports/opposes
buy/sell bought/sold arrive/depart arrived/departed enter/leave
include/exclude included/excluded includes/excludes including/excluding added/removed
remember/forget love/hate with/without everyone/nobody everything/nothing everywhere/nowhere
minimum/maximum beginning/end majority/minority advantage/disadvantage friend/enemy friends/enemies
because/although therefore/nevertheless caused/prevented causes/prevents cause/prevent
"""

# Each phrase becomes the other; these are no opposites but turn a cause or a negation round.
PHRASES = {
    "because of": "in spite of",
    "due to": "in spite of",
    "thanks to": "despite",
    "despite": "because of",
    "in spite of": "because of",
    "so that": "lest",
    "leads to": "results from",
    "led to": "resulted from",
    "results in": "results from",
    "resulted in": "resulted from",
    "results from": "results in",
    "resulted from": "resulted in",
    "at least": "at most",
    "at most": "at least",
    "more than": "less than",
    "less than": "more than",
    "all of": "none of",
    "none of": "all of",
    "no longer": "still",
    "not yet": "already",
    "cannot": "can",
    "can't": "can",
    "won't": "will",
}


def groups(lines: str) -> dict[str, list[str]]:
    """Each word of some lines with the others of its line."""
    split = [line.split() for line in lines.strip().splitlines()]
    return {word: [other for other in line if other != word] for line in split for word in line}


def opposites() -> dict[str, str]:
    """Each word or phrase with what takes its place; of a word's several pairs the first counts."""
    found = dict(PHRASES)
    for pair in OPPOSITES.split():
        left, right = pair.split("/")
        found.setdefault(left, right)
        found.setdefault(right, left)
    return found
