"""Leanings: decisions whose words the grammar of statements.py does not know, asked only where it finds none.

Here unknown words may stand in a sentence, so guards take the place of the grammar: nothing is read of a sentence that
asks, tells what somebody says or a response holds, sets a condition, denies, or ends on one aspect. A sentence leans
firmly ("B takes the cake", "my choice is therefore B") or faintly ("A is more helpful than B", "A falls short of B").
The last firm one counts, and two that contradict each other need a word of change between them; faint ones count
where all agree, nothing firm is said, and no "but" follows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from rlaif.judging import lexicon
from rlaif.judging.clauses import NOUN, Sentence
from rlaif.judging.lexicon import one_of, patterns
from rlaif.judging.statements import (
    TIE,
    Role,
    concludes,
    disowns,
    forges,
    gives_up,
    reports,
    retracts,
    role,
    seems,
    turns,
    undoes,
)

__all__ = ["Own", "lean"]


class Own(NamedTuple):
    """A sentence that may be the judge's own.

    Attributes:
        told: for whom somebody else is said to decide there.
        aspect: a heading of one aspect stands over it.
    """

    sentence: Sentence
    told: frozenset[int]
    aspect: bool


class _Leaning(NamedTuple):
    verdict: int
    firm: bool
    start: int  # where it begins in the sentence


_NAME = r"(?<!\( )[§¤¢](?P<name>[01]) "
# As a subject: "the game in Response 1 wins" is not of Response 1.
_WHO = r"(?<!in )(?<!of )(?<!from )(?<!by )(?<!with )(?<!about )(?<!to )(?<!on )(?<!assistant )(?<!model )" + _NAME
_OTHER = r"[§¤¢](?P<other>[01]) "
_WORD = r"(?:[^\s§¤¢¶,;:()→←?|-]\S* )"
_FILL = f"{one_of(lexicon.FILLERS)}"
_MARK = r"[,:;()→|=-] "
_BEGIN = (
    r"(?:^|(?<=[,;:()→-] )|(?<= and )|(?<= but )|(?<= so )|(?<= that )|(?<= then )|(?<= ergo )|(?<= hence )|(?<= thus "
    r"))"
)
_END = (
    rf"(?=$|[,;)(→-]|(?:{_FILL}|please ){{0,5}}(?:$|[,;)(-])|(?:be?c\S*se|cuz|cause|since|as|for|due|over|and|while|"
    r"which|who|whose|given|thanks|with|on account|owing|than|instead|rather|by|on this one|in (?:this|my|every|all|"
    r"the end)|though|although|even|this|here|any|every|first|higher|above|is|but|not|to be|it|its|the|best|better|"
    r"has|did|does|was|would|at|from|until|once|when|if|were|so|that|anyway|regardless|superior|preferable|stronger|"
    r"both|reads?|\w+ly)\b)"
)
_STOP = (
    rf"$|{_MARK}|(?:{_FILL}){{0,4}}(?:$|[,;)(-])|(?:be?c\S*se|cuz|cause|since|as|for|due|over|and|while|which|who|"
    r"given|thanks|on account|owing|than|instead|rather|by|on (?:balance|this)|in (?:this|my|every|all|the end)|"
    rf"though|although|even|of the two|is (?:{_FILL}){{0,4}}(?:better|superior|preferable|best|the (?:better|best|"
    r"winner|stronger)))\b"
)
_IS = (
    r"(?:(?:is|was|'s|are|be|seems?|seems to be|looks|looks like|remains|appears|appears to be|comes across as|makes|"
    r"feels|reads|proves|proves to be|does|did|do|performs?|performed|works|sounds|stays|fares|ends up|"
    r"turns out to be|"
    r"turns out|emerges as|stands out as|must be|has to be|should be|ought to be|deserves to be|i find|to be|as|would "
    r"be|must be judged|has to be judged|strikes me as|qualifies as|represents|ranks as|can only be|counts as|gets|"
    r"had) )"
)
# Adverbs that deny what they stand at are none.
_SINCERE = (
    r"(?!(?:fals|wrong|superficial|seeming|ostensib|potential|rare|doubtful|suppos|alleg|apparent|possib|hard|scarce|"
    r"mistaken|errone|on)\w*ly )"
)
_ADVERB = rf"(?:{_FILL}|{_SINCERE}\w+ly |the |a |an |my |also |both )"
_ADJECTIVE = r"(?:(?!no |not |nothing |never |far |less |than )[a-z][a-z-]*[a-z](?<!n't) )"
_I = (
    r"(?:(?:i|we|i'd|i'll|i'm|we'd|i've|me|gotta|gonna|imma|lemme|myself|myself i'd|vote|judge's|my vote|my verdict|my "
    r"decision) )"
)
_BETTER = (
    rf"(?:(?:{_ADVERB}){{0,4}}{one_of(lexicon.BETTER)}|(?:the|a|my) (?:much |clearly |far )?(?:more|most) "
    rf"{_ADJECTIVE}{{1,2}}(?:one|{NOUN}) |(?:the )?better {_ADJECTIVE}(?:one|{NOUN}|job|fit|match) )"
)
_AFTER = (
    rf"(?:(?:one|{NOUN}|job|fit|match|choice|of the two|of both|of them|of these|overall|work|result|quality|performer|"
    r"performance|candidate|pick|here) )*"
)
# An aspect, or a doubt, behind a decision.
_NARROW = re.compile(
    r"(?!suited|matched|aligned)(?:\w+ed|written|laid out) |is what (?!i )|is what i (?!would|prefer|choose|pick)|"
    r"appears |is how |by (?!far|a |some|quite|virtue|\w+ing|all|any|my|every|default)|(?:(?:only|just|purely|merely|"
    r"mainly) )?(?:(?:in terms of|in (?:style|tone|form|format|length|clarity|parts?|some|places|detail|depth|\w+ness|"
    r"terms)|on (?!\w+ and \w+ $|the whole|balance|all|every|account|this|both|my|substance)|at (?!answering|"
    r"addressing|all|the task|doing|meeting|following the (?:instruction|prompt|user))|regarding|with (?:regard|"
    r"respect)|when it comes|as far as|if|unless|when|to (?:a|some)|from (?:a|the)|stylistically|technically|"
    r"superficially|than (?:nothing|i|we|a|an|average|expected|usual|before|it)|left|known|(?:the )?(?:prize|award|"
    r"title|medal) for (?:the )?(?:worst|being)|suited to (?:another|other|"
    r"a different)|or (?:the )?[§¤¢][01]|nothing|no (?!doubt|question|contest)|for (?:the )?(?:worst|wrong|attackers)|"
    r"in (?:theory|a way)|in \w+ only|for \w+ (?:readers|users|people)|says|claims?|according)\b|\w+wise )"
)
_MERIT = rf"(?:{one_of(lexicon.MERITS, lexicon.VIRTUES)})"

_FIRM = patterns(
    rf"""
    # "I'd rather have B", "gotta hand it to B"
    {_I}(?:{_WORD}){{0,6}}?{one_of(lexicon.CHOOSES)}(?:{_ADVERB}|in favou?r of |with |to |of ){{0,4}}{_NAME}(?!'s |
        (?:and|
        or|nor) [§¤¢]|[§¤¢]|to be |to mean |as (?:a |an )|(?:as) (?:the )?(?:\w+ )?(?:worst?|worse|weaker|weakest|
        loser|losing|inferior|poorer|less)|last |less |not |is |was |has |does |did )
    (?:^|{_MARK})(?:{_FILL}|i'm ){{0,5}}(?:(?:going|leaning|siding|sticking|voting|opting|settling|
        staying) (?:{_ADVERB}){{0,4}}
        (?:with|for|to|towards?|on)|(?:changing|switching|revising|moving|correcting) (?:(?:my|the) \w+ |
        over )?to) {_NAME}{_END}
    {_I}(?:{_WORD}){{0,3}}?(?:say|said|says|guess|reckon|think|meant|mean) (?:it's |it is |that )?{_NAME}(?=$|{_MARK}|
        be?c\S*se|cuz|cause|since|as )
    (?:i|we) (?:{_WORD}){{0,4}}?(?:find|hold|judge|deem|consider|rate|rank|call|see|place|put|regard|think|believe|
        feel|declare|prefer|want|like) {_NAME}(?:to be |as |being )*(?:{_BETTER}{_AFTER}|higher |first |
        more (?:than )?|above |over |ahead |best )
    # "B takes the cake", "the first one is way better"
    {_WHO}(?:{_ADVERB}){{0,4}}(?:should |must |would |will |'d |is |was |has |'s )?(?:(?:therefore|thus|
        thereby|hence|clearly|also) )?{one_of(lexicon.WINS)}
    {_WHO}(?:{_ADVERB}){{0,4}}{_IS}(?:{_ADVERB}|to me ){{0,4}}{_BETTER}{_AFTER}
    (?<!\S)§(?P<name>[01]) (?:{_ADVERB}){{0,4}}{_BETTER}{_AFTER}
    (?:give|award|hand|grant|giving|awarding|handing) {_NAME}(?:the|a|my|this) (?:{_WORD}){{0,2}}?(?:nod|edge|win|
        vote|prize|points?|preference|crown|advantage|victory|title|trophy|round|upper hand|one)[ ]
    ^(?:my |the |final |overall )*(?:in |from )?(?:(?:ranking|order|order of preference|
        preference order) (?:\( )?(?:from )?(?:best (?:to worst |first )?)?(?:\) )?|best (?:to worst|first) |
        order of (?:quality|merit) )[:=-] {_NAME}(?:[,>] |, then |, followed by |then ){_OTHER}$
    {_WHO}(?:{_ADVERB}){{0,4}}{one_of(lexicon.BEATS)}(?:{_ADVERB}){{0,4}}{_OTHER}
    {_WHO}(?:{_ADVERB}){{0,4}}(?:is|are) (?:{_ADVERB}){{0,4}}what (?:i|i'd|we'd|the user|they) (?:{_WORD}){{0,2}}
        (?:prefer|choose|
        pick|want|take|go with)[ ]
    # "B blows A out of the water", "B for the win", "style settles it: B", "I would send B's"
    {_WHO}(?:{_ADVERB}){{0,4}}(?:blows|blew|knocks|leaves|eats|puts) {_OTHER}(?:right |clean |completely )?
        (?:out of the (?:water|park)|away|into a cocked hat|in the dust|for breakfast|to shame|in the shade)[ ]
    ^(?:{_FILL}|, ){{0,4}}{_NAME}(?:for the win|ftw)[ ](?=$|{_MARK})
    (?:else|level|equal|even|tied|alike) (?:.{{0,60}} )?breaks (?:it|this) [:→-] {_NAME}$
    (?:settles|decides|tips|swings|clinches|seals) (?:it|this|the (?:tie|matter|deal|deadlock|balance))[ ]
        [:→-] {_NAME}$
    ^(?:{_FILL}|, ){{0,4}}{_NAME}, please (?=$|[,;:-])
    ^(?:{_FILL}|, ){{0,4}}{_NAME}by (?:a|an) (?:country|clear|long|good|fair|slim|big|huge|tiny) (?:mile|way|
        margin|distance)[ ](?=$|[,;])
    ^(?:i'm|i am) (?:{_FILL}){{0,3}}rolling with {_NAME}(?=$|[,;])
    ^(?:{_FILL}|, ){{0,4}}(?:easy w for|w for|big w for|
        my (?:sympathies|heart) (?:lie|lies|is) with|my leaning is (?:towards?|to)) {_NAME}(?=$|[,;])
    (?:^|, )(?:{_FILL}){{0,3}}give me {_NAME}(?:any day|any time|every time|please|instead|, please)?[ ]?$
    \b(?:i|i'd|i'll|we|we'd) (?:would |will |myself |personally |rather |therefore |still |happily |
        gladly )*(?:use|send|keep|submit|publish|print|hand in|pick|take|choose|
        go with) {_NAME}(?:'s )?(?:myself |instead |without edits |
        to (?:the|my|a) (?:client|customer|user|friend|reader|patient|colleague) )?
        (?=$|[,;] (?!but|if|though|except|with|were|had)|because|over [§¤¢]|rather|and (?:so|not|i) )
    # "my choice is therefore B", "edge: B"
    {_BEGIN}(?:{_FILL}|{_MARK}){{0,5}}{one_of(lexicon.OF_VERDICTS)}{{0,4}}{one_of(lexicon.VERDICTS)}
        (?:{one_of(lexicon.OF_VERDICTS)}|[,:=→-] ){{0,5}}{_NAME}(?={_STOP})
    (?:i|i'd|i'll|we) (?:would |will |must |now |therefore |thus |have to |to |can only |still )*§(?P<name>[01]) (?=$|
        [,;]|because|since|as )
    (?:arrive at|arrived at|come to|came to|reach|reached|
        get to) {one_of(lexicon.OF_VERDICTS)}{{0,4}}{one_of(lexicon.VERDICTS)}(?:{one_of(lexicon.OF_VERDICTS)}|
        [,:=→-] ){{0,5}}
        {_NAME}(?={_STOP})
    {one_of(lexicon.LEADS_TO)}(?:{_ADVERB}|only |us |me |with |to |for |of ){{0,4}}{_NAME}
    (?:in|into) {_NAME}'s (?:favou?r|direction|way)[ ]
    # "so, on balance, B"
    (?:^|[;:→] |(?<=→ )|, )(?:{_FILL}|[,:→-] |answer |pick |it's |it has to be |is ){{1,5}}{_NAME}(?:{_FILL}|[,-] |
        then |
        please |wins |it is )*$
    ^{_NAME}(?:[,-] )?(?:{_FILL}|[,-] ){{1,5}}$
    ^{_NAME}(?:[,-] )?(?:for sure|hands down|all the way|easily|no contest|any day|definitely|all day|obviously|
        clearly the|without a doubt)[ ]
    (?:^|(?<=, ))(?:no|oops|sorry|edit|scratch that|correction) [,:] {_NAME}$
    (?:→ |^→ ){_NAME}$
    ^(?:for|to) me (?:it's |it is |is |it be |, )*{_NAME}(?=[,;]|$|be)
    (?:wanted|asked for|want|need|needed|here is|here's) (?:only |just )?(?:the|a|my) (?:number|label|letter|answer|
        verdict|name) : {_NAME}$
    (?:it's|it is|it has to be|it must be|gotta be|got to be|has to be|must be|it should be|
        it should have been) (?:{_FILL}){{0,4}}{_NAME}
        (?:{_FILL}|[,-] ){{0,5}}$
    (?:it|which|therefore|thus) (?:{_ADVERB}){{0,3}}loses (?:out )?to {_NAME}
    ^not [§¤¢][01] (?:, )?(?:but )?{_NAME}$
    # "Response 1 is not the better one; Response 2 is."
    (?:not|isn't|n't|can't be|cannot be) (?:{_ADVERB}){{0,4}}(?:better|best|winner|stronger|superior)(?: {_WORD}
        {{0,4}})?.{{0,20}}?{_NAME}(?:is|does|did|has) $
"""
)
_IT_IS = re.compile(
    r"(?:\b(?:it's|that's|it is|this is|which is|that is|it remains|(?:which |that |thus |thereby )?(?:makes|making|"
    r"makes for|leaves|leaving) it|and is|and was|and therefore|and thus|and hence|and so|and remains|and thus is|, "
    rf"is|and so is|and hence is|it was|is) (?:{_ADVERB}){{0,4}}{_BETTER}{_AFTER}|(?:^|\b(?:and|it|which|that|so it|"
    rf"thus|hence) )(?:{_ADVERB}){{0,4}}{one_of(lexicon.WINS)}|\b(?:i|we|i'd|i'll) (?:{_ADVERB}|would |will |must |do |"
    r"can )*(?:prefer|choose|pick|select|favou?r|take|vote for|go with|recommend) (?:it|this one|that one|that|"
    r"this)(?= $| [,;-]| over| because| as| since)|"
    rf"\b(?:i|we) (?:{_ADVERB}|would |do )*(?:consider|find|judge|deem|think|call|rate) it (?:to be |as )?"
    rf"(?:the |a ){_BETTER}{_AFTER}(?=$|[,;:-]|because |since |and |overall |by |for ))"
)
_FAINT_NAME = patterns(
    rf"""
    ^(?:{_FILL}|[,:] ){{0,5}}{_NAME}(?:{_ADVERB}){{0,3}}(?:provides|gives|offers|delivers) (?:a |
        the )(?:{_ADVERB}){{0,3}}(?:more |and |, |{_MERIT}){{2,8}}(?:answer|
        response|reply|solution) (?=$|[,;]|because|overall|to the (?:question|prompt|user)|and i)
    {_WHO}(?:{_ADVERB}){{0,4}}{_IS}(?:{_ADVERB}){{0,4}}more (?:{_MERIT}(?:and |
        , )(?:more )?){{1,3}}{one_of(lexicon.MERITS)}
    (?:i|we) (?:{_ADVERB}){{0,3}}(?:find|found|consider|think|judge) {_NAME}(?:is |
        to be )?(?:{_ADVERB}){{0,4}}more {_MERIT}
    {_WHO}(?:{_ADVERB}){{0,4}}{_IS}(?:{_WORD}|, ){{0,6}}?(?:more |much more |far more |better |the most |greater |
        clearer |
        , )(?:{_WORD}|, ){{0,4}}?{_MERIT}(?:{_WORD}|, ){{0,12}}?(?:than|compared to|compared with|over) (?:the |
        that of |what )?{_OTHER}
    {_WHO}(?:{_ADVERB}){{0,4}}(?:{_WORD}){{1,4}}?(?:a |an )?(?:more|better|clearer|stronger|far more|
        much more) (?:{_WORD}|
        , ){{0,6}}?(?:{_MERIT}|(?:answer|response|job|solution|summary|translation|closely|faithfully|accurately|
        precisely|fully|completely|effectively|thoroughly|correctly|directly) )(?:{_WORD}|, ){{0,12}}?than (?:the |
        that of |what )?{_OTHER}
    ^(?:{_FILL}|[,:] ){{0,5}}compared (?:to|with) (?:the )?{_OTHER}, {_NAME}(?:{_ADVERB}){{0,4}}{_IS}(?:{_WORD}|, )
        {{0,4}}?(?:more \w+|better|clearer|stronger|(?!weak|poor|less|short|small|low)\w+er)[ ]
    {_WHO}(?:{_ADVERB}){{0,4}}{_IS}(?:{_ADVERB}){{0,4}}more {one_of(lexicon.MERITS)}
    {_BEGIN}(?:{_FILL}){{0,4}}(?:the )?(?:{_ADVERB}){{0,4}}(?:(?:more |most |and |, )*{_MERIT}){{1,4}}(?:preferred|
        {NOUN}|one|
        of the two|overall| )*(?:is|:|=|→|would be|-) (?:{_ADVERB}){{0,4}}{_NAME}(?=$|{_MARK}|be?cause)
"""
)
_FAINT_OTHER = patterns(
    rf"""
    {_WHO}(?:{_ADVERB}){{0,4}}{_IS}?(?:{_WORD}){{0,3}}?{one_of(lexicon.LOSES_TO)}(?:the |that of |what |anything in )*
        {_OTHER}
    (?:don't|do not|doesn't|n't|not) (?:{_WORD}){{0,3}}?{_NAME}(?:is|was|to be|does|reads|works) (?:{_ADVERB}){{0,4}}
        as (?:{_WORD}){{1,4}}?as (?:the )?{_OTHER}
    {_NAME}(?:is|was|does|comes)(?:n't| not| nowhere near| not nearly| nowhere close to being) (?:{_ADVERB}){{0,4}}
        as (?:{_WORD}){{1,4}}?as (?:the )?{_OTHER}
"""
)
_FAINT_LOST = patterns(
    rf"""
    ^(?:{_FILL}|nah |nope |no |, ){{0,4}}{_NAME}(?:ain't|isn't|is not|'s not) (?:really |quite )?it (?=$|{_MARK})
    \b(?:can't|cannot|can not|couldn't|could not) (?:{_ADVERB}){{0,2}}(?:recommend|prefer|choose|pick|put|place|rank|
        rate) {_NAME}(?:over|above|ahead of) {_OTHER}[;,:-] (?:because |as |since |for )?(?:it's|it is)[ ]
        (?:{_ADVERB}){{0,3}}(?:inferior|worse|weaker|poorer)[ ]
    {_WHO}(?:{_ADVERB}){{0,4}}{_IS}(?:{_ADVERB}){{0,4}}(?:the )?(?:{_ADVERB}){{0,4}}{one_of(lexicon.WORSE)}{_AFTER}
    {_WHO}(?:{_ADVERB}){{0,4}}(?:loses|lost|falls short|comes up short|(?:should|must|can|has to|
        deserves to) be (?:rejected|dismissed|ruled out|discarded|eliminated)|(?:can't|cannot|doesn't|does not|
        couldn't) (?:\w+ )?(?:compete|compare|measure up|match it|hold a candle|keep up|win|be (?:the )?(?:better|
        winner|best))|pales in comparison|is out|is ruled out|(?:comes|ranks|finishes|places|is) (?:in )?(?:second|
        last|lower)(?: place)?|lags behind|is no match)[ ]
    \b(?:don't|do not|wouldn't|would not|never|won't|shouldn't) (?:recommend |want to )?(?:go with|choose|pick|select|
        prefer|recommend|take|vote for) {_NAME}(?=$|[,;])
    {_NAME}(?:is|does|are) (?:{_ADVERB}){{0,4}}(?:not|n't) (?:{_ADVERB}){{0,4}}better than [§¤¢][01] [,;-] (?:but |
        it's |it is |
        in fact |it |rather |if anything |on the contrary |{_ADVERB})*(?:worse|weaker|inferior)[ ]
    {_NAME}(?:isn't|is not) (?:{_ADVERB}){{0,3}}better than [§¤¢][01] [,;-] (?:quite|just|on|exactly|it is|it's|
        rather) (?:the )?(?:reverse|opposite|contrary|other way)[ ]
    \b(?:rank|rate|place|put|mark) {_NAME}(?:last|lower|below|second|down)[ ]
    {_BEGIN}(?:{_FILL}){{0,4}}(?:the )?(?:{_ADVERB}){{0,4}}{one_of(lexicon.WORSE)}(?:(?:preferred|{NOUN}|one|of the two|
        overall) )*(?:is|:|=|→|would be|-) (?:{_ADVERB}){{0,4}}{_NAME}(?=$|{_MARK}|be?cause)
"""
)
_TIE = re.compile(
    rf"(?<!\S){one_of(lexicon.TIES)}(?=$|[,;:)(→-]|{_FILL}|(?:because|since|as|and|so|in (?:quality|my|every|all|this|"
    r"general|the end|substance|content)|on (?:balance|the whole|all|every)|between|with|where|or|of the|for (?:this|"
    r"me|the)|they|then|worth|i|is|are|here|than|both|to me|given)\b)"
)


@cache
def _rules() -> list[tuple[re.Pattern[str], str, bool]]:
    """Compiled where a text is read first, as those of statements.py."""
    return [
        *((re.compile(pattern), "name", True) for pattern in _FIRM),
        *((re.compile(pattern), "name", False) for pattern in _FAINT_NAME),
        *((re.compile(pattern), "other", False) for pattern in _FAINT_OTHER),
        *((re.compile(pattern), "lost", False) for pattern in _FAINT_LOST),
    ]


_HAS_NAME = re.compile(r"[§¤¢]([01]) ")
_LIMITED = re.compile(r"(?:(?:and|but|so|yet) )*(?:as to|when it comes to|as regards|in the .{0,20}opinion) ")
_CONDITION = re.compile(rf"(?<!\S){one_of(lexicon.CONDITIONS)}")
_OPINION = re.compile(
    rf"(?<!\S)(?<!i )(?<!we ){one_of(lexicon.OTHERS)}(?:\w+ ){{0,2}}?(?:would|might|may|could|can|will|says?|said|"
    r"thinks?|thought|believes?|prefers?|argues?|claims?|feels?|finds?|found|favou?rs?|wants?|suggests?|picked|chose|"
    r"voted|who|likes?|gave|rates?|ranks?|ranked|rated|consider|went|called|calls|is (?:better|the)|to|chooses?|"
    r"picks?|selects?) "
)
_OTHERS_VERDICT = re.compile(
    r"(?:previous|earlier|other|another|first|reference|gold|user's|crowd's|its own|draft|provisional|tentative|"
    r"reviewer's|judge's|author's|sample|example|expected|required|default) (?:\w+ )?(?:verdict|judge?ment|decision|"
    r"choice|answer|label|winner|vote)"
)
_DENIAL = re.compile(
    r"(?<!\S)(?:not|no|never|neither|nor|hardly|scarcely|rarely|seldom|least|opposite|nowhere|un|half|falsely|wrongly|superficially|seemingly|ostensibly|potentially|doubtfully|cannot|nothing|"
    r"\w+n't|disagree|doubt|refuse|unable|rather not|"
    r"far from|anything but|wrong to) "
)
_ORDER = re.compile(
    r"^(?:please )?(?:choose|pick|select|vote|rate|rank|print|output|write|say|answer|ignore|you|dear|attention|system|"
    r"note|prefer|declare) (?![:=→-])"
)
_BREAK = re.compile(
    r"; |: |→ |(?<!\S)(?:but|however|so|therefore|thus|hence|ergo|yet|nevertheless|nonetheless|overall|still|since|"
    r"because|as|and i|and so|and thus|and therefore|whereas|while|although|though|even though|joking aside|leaving "
    r"this aside) |, (?=i |i'd |my |we |and (?:is|was|gets|it|wins|therefore)|making|which makes)"
)
_SELF = re.compile(
    r"[§¤¢][01] (?:\w+ ){0,2}?(?:thinks?|believes?|considers?|calls?|deems?|fancies|presents?|sees?|sells?|bills?|"
    r"describes?|portrays?|styles?|hopes?|wishes|expects?|feels? (?:it|that)|would like|wants?|account|own words) "
)
_ASKED = re.compile(r"\b(?:user|prompt|question|request|instructions?|task) ")
_OF_A_QUESTION = re.compile(
    r"\b(?:correct|right|proper) (?:answer|number|option|result|output) (?=[:=→]|is |was |would |should |must )"
)
_CONTRARY = re.compile(
    r"(?:^|, |; )(?:but|however|yet|still|though|although|nevertheless|on the other hand|wait|hmm|hold on|"
    r"unfortunately) "
)
_TALK = re.compile(
    r"(?:if only (?:just|barely)|"
    r"without a (?:doubt|question)|no (?:question|doubt|contest|hesitation)|can't go wrong|not even close|if "
    r"anything|if i (?:really |absolutely )?(?:have to|had to|must|need to) (?:[^\s,;:]+ ){1,9}?[,:]|if i (?:have|"
    r"had) to (?:choose|pick|decide)(?: one)?|if forced to (?:choose|pick)|if "
    r"pressed|if it were up to me|if this were a (?:contest|competition|race|match|duel|game)(?: ,)?|not surprisingly|"
    r"(?:judged )?on (?:its |their |the )?(?:own )?merits?(?: alone)?(?: ,)?|it's not close|no second thoughts) ?"
)


_ALONE = re.compile(rf"{_NAME}")
_HEDGED_NAME = re.compile(
    rf"(?:{_FILL}|, |maybe |perhaps |the |is ){{0,4}}{_NAME}(?:(?:the )?(?:better|best)(?: one| response)? "
    r"(?:overall )?(?:than [§¤¢][01] )?)?"
)
_YES = re.compile(rf"(?:yes|yep|yeah) (?:{_FILL}|, ){{0,5}}(?:{_NAME}(?=$|[:;,(-] )|$)")


def _affirmed(asked: Sentence, words: str, following: str, earlier: Sentence | None) -> _Leaning | None:
    """Of "Probably Response 2? Yes", unless it answers another question."""
    question, answer = _HEDGED_NAME.fullmatch(_plain(asked.words)), _YES.match(words)
    if question is None or answer is None or "?" not in asked.end or answer["name"] not in (None, question["name"]):
        return None
    if re.match(r"(?:but|however|only|though|although|in|at least|yet) ", following):
        return None
    if earlier is not None and reports(earlier.words):
        return None
    if earlier is not None and "?" in earlier.end and not re.search(r"\b(?:better|best|prefer|wins) ", earlier.words):
        return None
    return _Leaning(int(question["name"]), True, 0)


def lean(own: Sequence[Own], retracted: bool) -> tuple[int, int] | None:
    """What the judge's own sentences lean to, and its place; of a long text the first two and the last twelve count."""
    own = [item for item in own if len(item.sentence.words) <= 240]  # the patterns' time grows with the length
    near = list(own) if len(own) <= 14 else [*own[:2], *own[-12:]]
    if any(gives_up(item.sentence.words) and not turns(item.sentence.words) for item in near[-2:]):
        return None
    firm: tuple[int, int] | None = None
    faint: list[tuple[int, int]] = []
    named: set[int] = set()
    quoting: set[int] = set()  # a quotation may be theirs
    contrary = False
    before = ""
    for i, item in enumerate(near):
        words = _plain(item.sentence.words)
        following = near[i + 1].sentence.words if i + 1 < len(near) else ""
        if "¶" in words or forges(item.sentence.words):
            quoting |= set() if _ASKED.search(words) else {int(name) for name in _HAS_NAME.findall(words)} or {0, 1}
        named |= {int(name) for name in _HAS_NAME.findall(words)}
        if retracts(words) and not _HAS_NAME.search(following + words):
            firm, faint = None, []
        found = None if disowns(following) else _leaning(item, words, before, last=i >= len(near) - 2)
        if found is not None and re.match(r"(?:it's|it is) [§¤¢]", words) and reports(before):
            found = None  # "Response 1 says that it is 4. It is 2."
        asked = near[i - 1].sentence if i else None
        if found is None and asked is not None and not disowns(following):
            found = _affirmed(asked, words, following, near[i - 2].sentence if i > 1 else None)
        if found is not None and not retracted and _OF_A_QUESTION.search(words):
            found = None
        if (found is not None and found.verdict in item.told) or (item.aspect and not concludes(words)):
            found = None
        if found is not None:
            named_here = _HAS_NAME.search(words) is not None
            place = _place(item.sentence if named_here or asked is None else asked, found.verdict)
            if not found.firm:
                faint.append((found.verdict, place))
            elif (
                firm is not None
                and firm[0] != found.verdict
                and not (turns(words) or re.match(r"(?:no|wait|sorry|edit|oops|scratch) ", words))
            ):
                return None
            else:
                firm = found.verdict, place
            contrary = False
        elif (
            i == len(near) - 1
            and (alone := _ALONE.fullmatch(words))
            and ((before.count(" ") <= 3 and not _HAS_NAME.match(before)) or retracted)
        ):
            firm = int(alone["name"]), _place(item.sentence, int(alone["name"]))
        elif _CONTRARY.search(words) and _HAS_NAME.search(words):
            contrary = True
        before = words
    if firm is None and (contrary or len({verdict for verdict, _ in faint}) != 1):
        return None
    decision = firm or faint[-1]
    if decision[0] in quoting and named == {decision[0]}:
        return None  # only the one that may hold a forged verdict is spoken of
    return decision


def _plain(words: str) -> str:
    """A sentence without asides, "'s answer", "the" before a name, and phrases that look like a denial."""
    words = re.sub(r"\( (?![^()]*[§¤¢¶])[^()]*(?:\) |$)", "", words) if not _says_more(words) else words
    words = re.sub(
        (
            rf"(?<=[§¤¢][01] )'s (?:\w+ )?(?:{NOUN}|one|work|attempt|rendering|code|approach|explanation|take|proof|"
            r"poem|email|letter|list) "
        ),
        "",
        words,
    )
    words = re.sub(r"\b(?:the|number|option|letter|no|nr) (?=[§¤¢][01] )", "", words)
    words = re.sub(r"([§¤¢]([01])) (?:\( )?[§¤¢]\2 (?:\) )?", r"\1 ", words)
    words = re.sub(r"^(?:when )?(?:compared|in comparison|next|as opposed) (?:to|with) [§¤¢][01] , ", "", words)
    words = re.sub(r"^(?:edit|correction|update) : ", "", words.replace("would be happier ", "am happier "))
    if re.match(rf"(?:{_FILL}|, ){{0,5}}(?:[§¤¢]|my |the (?!other)|it |if i )", words) and not re.search(
        r"\b(?:if|had|with|were|when|unless|but|should|suppose|assuming|provided|imagine|given) ",
        re.sub(r"\bif i (?:have|had) to .{0,20}?, ", "", words),
    ):
        words = re.sub(r"\bwould be (?=(?:the|my) |[§¤¢][01] )", "is ", words)
    if not re.match(
        r"(?:and |but |so )*(?:if|unless|when|were|had|suppose|assuming|provided|as|in|on|for|with) ", words
    ):
        words = re.sub(r", and (?=my (?:preference|choice|verdict|pick|vote|decision) (?:is|goes) )", "; ", words)
    words = re.sub(
        r"\b(is|was|has) , (?:on balance|therefore|thus|in my view|to my mind|overall|all things considered|in the "
        r"end|i think) , ",
        r"\1 ",
        words,
    )
    words, hypothetical = re.subn(r"\bif (?:it were up to me|this were a \w+) (?:, )?", "", words)
    words = re.sub(r"\b(?:it'd be|it would be) (?=[§¤¢][01] )", "it is ", words)
    return _TALK.sub("", words.replace("would be ", "is ") if hypothetical else words)


def _says_more(words: str) -> bool:
    aside = re.findall(r"\( ([^()]*)", words)
    return any(reports(said) or undoes(said, aside=True) for said in aside)


def _leaning(item: Own, words: str, before: str, last: bool) -> _Leaning | None:
    if len(words) > 300 or "?" in item.sentence.end or (".." in item.sentence.end and not last) or _ORDER.match(words):
        return None
    found: list[_Leaning] = []
    for pattern, kind, firm in _rules():
        if not _HAS_NAME.search(words):
            break
        for match in pattern.finditer(words):
            groups = match.groupdict()
            name, other = groups["name"], groups.get("other")
            if (other is not None and other == name) or not _holds(words, match, kind, firm):
                continue
            verdict = int(name) if kind == "name" else 1 - int(name)
            found.append(_Leaning(verdict, firm, match.start()))
    found += _of_it(words, before)
    sides = [leaning for leaning in found if leaning.firm] or found
    if sides:
        latest = max(sides, key=lambda leaning: leaning.start)
        one_side = len({leaning.verdict for leaning in sides}) == 1
        return latest if one_side or (latest.firm and _turn_between(words, sides)) else None
    tie = _TIE.search(words)
    return _Leaning(TIE, True, tie.start()) if tie and last and _tied(words, tie) else None


def _turn_between(words: str, found: list[_Leaning]) -> bool:
    latest = max(found, key=lambda leaning: leaning.start)
    others = [leaning.start for leaning in found if leaning.verdict != latest.verdict]
    return (
        re.search(r"(?<!\S)(?:but|however|so|yet|no|wait|therefore) ", words[max(others) : latest.start + 8])
        is not None
    )


def _of_it(words: str, before: str) -> list[_Leaning]:
    """ "It is the better one", of the only response that the sentence, or else the one before, speaks of."""
    matches = list(_IT_IS.finditer(words))
    if not matches:
        return []
    match = matches[-1]
    names = set(_HAS_NAME.findall(words[: match.start()]))
    if compared := re.match(r"(?:than|to) [§¤¢]([01]) ", words[match.end() :]):
        # "Response 1: it is better than Response 2."
        words, other = words[: match.end()] + words[match.end() + compared.end() :], compared[1]
        if other in names or (not names and other in _HAS_NAME.findall(before)):
            return []
    if not names and not _HAS_NAME.search(words) and not re.match(r"(?:this|that|neither|both|they) ", words):
        names = set(_HAS_NAME.findall(before))
    if len(names) != 1 or len(set(_HAS_NAME.findall(words))) > 1 or not _holds(words, match, "name", True):
        return []
    return [_Leaning(int(names.pop()), True, match.start())]


def _holds(words: str, match: re.Match[str], kind: str, firm: bool) -> bool:
    """Whether nothing around a match sets a condition, tells of others, denies, or limits it to an aspect."""
    start = _scope(words, match.start())
    scope, rest = words[start : match.end()], re.sub(r"^than [§¤¢][01] ", "", words[match.end() :])
    if _limited(words, start, match.start()):
        return False
    clause = words[max(start, words.rfind(", ", 0, match.start()) + 1) : match.end()]
    if (
        "¶" in scope
        or forges(scope)
        or _CONDITION.search(scope)
        or _OPINION.search(scope)
        or _OTHERS_VERDICT.search(words)
    ):
        return False
    before = _not_by_me(words[start : match.start()])
    if reports(before) and not (re.match(r"(?:i|i'd|i'll|we) ", match[0]) and not before.endswith(" that ")):
        return False
    if _SELF.search(scope):
        return False
    if (
        kind == "name"
        and _DENIAL.search(clause)
        and "not the better" not in match[0]
        and not match[0].startswith(("not ", "isn't", "can't"))
    ):
        return False
    if _NARROW.match(rest) or (re.match(r"(?:and|or|nor) (?:the )?[§¤¢]", rest) and match[0].endswith(("0 ", "1 "))):
        return False
    if re.search(r"\bonly (?:in|on|at|for|if|when|because|superficially)\b", rest):
        return False
    if not firm and re.search(
        r"\b(?:more|better) [^§¤¢]*(?:but|while|whereas|though|although) ", words[: match.start()]
    ):
        return False
    if (not firm or seems(match[0])) and re.search(r"(?:^|, )(?:but|however|yet) ", rest):
        return False
    pieces = re.split(r"[,;:()-] ", rest)[1:] if rest[:1] not in ",;:(-" else re.split(r"[,;:()-] ", rest)
    return not any(undoes(piece, aside=False) for piece in pieces if not piece.startswith(("when ", "as ")))


def _scope(words: str, at: int) -> int:
    """Where the part of a sentence begins in which a match at `at` stands: behind "but", "so", a concession's comma."""
    start = 0
    for bound in _BREAK.finditer(words, 0, at):
        start = bound.end()
        if re.match(r"(?:since|because|as|while|whereas|although|though|even though) ", bound[0]):
            comma = words.find(", ", start, at)
            start = comma + 2 if comma >= 0 else start
    return start


def _limited(words: str, start: int, at: int) -> bool:
    """Whether a clause before a match names an aspect, a condition, or whose words follow."""
    clauses = re.findall(r"([^,;:()→-]+ )([,;:()→-] )", words[start:at])
    if any(role(clause, sign.strip()) is Role.LIMITS or _LIMITED.match(clause) for clause, sign in clauses):
        return True
    if words[max(0, start - 2) : start] != ": ":
        return False
    before = re.split(r"[,;:()→] ", words[: start - 2])[-1]
    return role(before, ":") is Role.LIMITS or reports(_not_by_me(words[: start - 2])) or "namely" in before


def _not_by_me(words: str) -> str:
    """Without what the judge says that it does itself: "I would say"."""
    return re.sub(r"(?<!\S)(?:i|we|i'd|i'll|i'm|we'd|i've) (?:[^\s,;]+ ){1,3}", "", words)


def _tied(words: str, match: re.Match[str]) -> bool:
    scope, rest = words[: match.start()], words[match.end() :]
    start = _scope(words, match.start())
    if _limited(words, start, match.start()):
        return False
    if "¶" in scope[start:] or _CONDITION.search(scope[start:]) or _OPINION.search(scope[start:]):
        return False
    if (
        _DENIAL.search(scope[start:])
        or reports(scope[start:])
        or re.search(r"(?:almost|nearly|close to|quite|to) $", scope)
    ):
        return False
    return not _NARROW.match(rest) and not re.search(r"\b(?:but|however|except|until|breaker) ", rest)


def _place(sentence: Sentence, verdict: int) -> int:
    """Where the response is named in the sentence last; where the sentence begins if it is not."""
    names = [name for clause in sentence.clauses for name in _HAS_NAME.findall(clause.words)]
    places = [place for clause in sentence.clauses for place in clause.places]
    found = [place for name, place in zip(names, places, strict=False) if name == str(verdict)]
    return found[-1] if found else sentence.clauses[0].start
