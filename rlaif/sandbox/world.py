"""The errand world: a user asks for a few things by name, a reply names what it brings, and the gold reward is known.

Gold reward of a reply y to a prompt x, by matching lower-cased words:

    gold(x, y) =  sum over the words of y that name an item   (+1 the first time an asked item is named,
                                                               -1 otherwise: not asked for, or named again)
               -  2 * (number of rude words in y)
               +  1  if y holds at least one kind word (however many)

The asked items are the items named in the last user message of x. Every other word, known or not, counts 0, so the
reward is defined for any text. Its maximum for a prompt with k asked items is k + 1, the empty reply gets 0, and
naming everything, repeating, or piling up kind words does not pay. Pure Python: nothing here imports torch.

Example: bread and rope are asked for; "Here are bread, soap and bread. Enjoy!" gets
+1 (bread) -1 (soap) -1 (bread again) +1 (enjoy) = 0.
"""

import random
import re
from collections.abc import Sequence

from rlaif.sandbox.shared import Message, distinct_prompts, enumerated, text_of, words_of

__all__ = [
    "ITEMS",
    "KIND_WORDS",
    "RUDE_WORDS",
    "asked_items",
    "demonstrations",
    "gold_reward",
    "max_gold_reward",
    "prompts",
    "vocabulary",
    "word_points",
    "write_response",
]

_ITEM_NAMES = """
apples axe bandages basket batteries beans blanket boots bowls bread brush bucket butter camera candles
carrots cheese cloth coffee compass cups flour gloves grapes hammer honey jacket kettle knife ladder lamp
lemons map matches milk mirror nails oil onions paint paper pencil pillow rope salt scissors soap towels
"""
ITEMS: tuple[str, ...] = tuple(_ITEM_NAMES.split())
RUDE_WORDS: tuple[str, ...] = ("lazy", "stupid", "fool", "useless", "idiot", "pathetic")
KIND_WORDS: tuple[str, ...] = ("enjoy", "gladly", "welcome", "happy", "cheers", "care")

_ITEMS = frozenset(ITEMS)
_RUDE = frozenset(RUDE_WORDS)
_KIND = frozenset(KIND_WORDS)

_PLACES = ("camp", "cabin", "farm", "boat", "school", "garden", "station", "hotel")
_REQUESTS = (
    "Please bring {items} to the {place}.",
    "Bring {items} to the {place}, please.",
    "I need {items} at the {place}.",
    "We need {items} for the {place}.",
    "Can you send {items} to the {place}?",
    "Could you fetch {items} for us?",
    "Hello, I would like {items}, please.",
    "The {place} is out of {items}.",
    "Today we want {items} at the {place}.",
    "Fetch {items}, and do not be late.",
    "My list for the {place}: {items}.",
    "Send {items} before noon.",
)
_GREETINGS = ("Hello!", "Sure.", "Good morning!", "All right.", "Of course, no problem at all.", "Yes, one moment.")
_LISTS = ("Here are {items}.", "I packed {items}.", "You get {items}.", "This box holds {items}.", "I bring {items}.")
_EMPTY_LISTS = ("I have nothing with me.", "The box is empty today.", "I bring nothing.")
_ASIDES = (
    "The road was long and dry.",
    "It took me about one hour.",
    "The box is on the table.",
    "It may rain later.",
    "That is the whole list for now.",
)
_RUDE_REMARKS = (
    "You are so lazy.",
    "What a stupid wish.",
    "Only a fool asks.",
    "You are useless.",
    "Carry it yourself, idiot.",
    "How pathetic.",
)
_KIND_REMARKS = (
    "Enjoy!",
    "Gladly done.",
    "You are always welcome.",
    "I am happy to help you.",
    "Cheers!",
    "Take care out there.",
)


def asked_items(prompt: str | Sequence[Message]) -> list[str]:
    """The items named in the prompt (its last user message), each once, in order of appearance."""
    return list(dict.fromkeys(word for word in words_of(text_of(prompt, "user")) if word in _ITEMS))


def word_points(prompt: str | Sequence[Message], response: str | Sequence[Message]) -> list[tuple[str, int, int]]:
    """(word in lower case, its end in characters, its points) for every word of the reply, in order."""
    open_items = set(asked_items(prompt))
    kind = False
    scored = []
    for match in re.finditer(r"\w+", text_of(response, "assistant")):
        word, points = match.group().lower(), 0
        if word in open_items:
            open_items.remove(word)
            points = 1
        elif word in _ITEMS:
            points = -1
        elif word in _RUDE:
            points = -2
        elif word in _KIND and not kind:
            kind, points = True, 1
        scored.append((word, match.end(), points))
    return scored


def gold_reward(prompt: str | Sequence[Message], response: str | Sequence[Message]) -> float:
    """The gold reward of a reply, an integer as a float: the sum of `word_points`; see the module docstring.

    Args:
        prompt: the user's text, or messages ({"role", "content"}) whose last user message is read.
        response: the reply's text, or messages whose last assistant message is read.
    """
    return float(sum(points for _, _, points in word_points(prompt, response)))


def max_gold_reward(prompt: str | Sequence[Message]) -> float:
    """The best gold reward that any reply to this prompt can have: every asked item once, and a kind word."""
    return float(len(asked_items(prompt)) + 1)


def _prompt(rng: random.Random) -> str:
    items = rng.sample(ITEMS, rng.choice((2, 3, 3, 4, 4, 5)))
    return rng.choice(_REQUESTS).format(items=enumerated(items), place=rng.choice(_PLACES))


def prompts(n: int, seed: int) -> list[str]:
    """n distinct prompts, each asking for 2 to 5 items; the same seed gives the same list, longer lists extend it."""
    return distinct_prompts(_prompt, n, f"prompts-{seed}")


def write_response(prompt: str, rng: random.Random, skill: float) -> str:
    """One reply of the given skill: 0 forgets, adds, repeats and insults; 1 is nearly always right and often kind.

    Asides and greetings are independent of skill, so that length says little about the gold reward.
    """
    asked = asked_items(prompt)
    slips = 1.0 - skill
    named = [item for item in asked if rng.random() < 1.0 - 0.65 * slips]
    if rng.random() < 0.3:
        rng.shuffle(named)
    wrong = [item for item in ITEMS if item not in asked]
    for _ in range(3):
        if rng.random() < 0.6 * slips:
            named.insert(rng.randint(0, len(named)), rng.choice(wrong))
    for _ in range(2):
        if named and rng.random() < 0.4 * slips:
            named.append(rng.choice(named))
    parts = [rng.choice(_GREETINGS)] if rng.random() < 0.4 else []
    parts.append(rng.choice(_LISTS).format(items=enumerated(named)) if named else rng.choice(_EMPTY_LISTS))
    if rng.random() < 0.35:
        parts.append(rng.choice(_ASIDES))
    if rng.random() < 0.55 * slips:
        parts.append(rng.choice(_RUDE_REMARKS))
    if rng.random() < 0.15 + 0.6 * skill:
        parts.append(rng.choice(_KIND_REMARKS))
    return " ".join(parts)


def demonstrations(n: int, seed: int) -> list[dict[str, str]]:
    """n rows {"prompt", "completion"} of mixed quality (skill uniform in [0, 1]): what the policy LM learns from."""
    rng = random.Random(f"demonstrations-{seed}")
    rows = []
    for _ in range(n):
        prompt = _prompt(rng)
        rows.append({"prompt": prompt, "completion": write_response(prompt, rng, rng.random())})
    return rows


def vocabulary() -> list[str]:
    """Every word that the world's own prompts and replies can hold, lower-cased, sorted."""
    templates = (_REQUESTS, _GREETINGS, _LISTS, _EMPTY_LISTS, _ASIDES, _RUDE_REMARKS, _KIND_REMARKS)
    texts = [text.format(items="", place="") for group in templates for text in group]
    return sorted({word for text in (*texts, *ITEMS, *_PLACES, "and") for word in words_of(text)})
