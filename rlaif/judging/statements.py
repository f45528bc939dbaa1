"""The grammar of decisions: what one clause of a judge's text says about which response is better.

The patterns are over clauses as clauses.py writes them: words in lower case with one space behind each, names marked.
A pattern begins at the clause's first word, so every word before a name has to be one that a decision may have, and
what may follow is listed too. A word that is not known makes a clause say nothing.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import cache

from rlaif.judging.clauses import NOUN
from rlaif.judging.lexicon import patterns

__all__ = [
    "TIE",
    "Role",
    "announces",
    "blames",
    "concludes",
    "contrasts",
    "decided",
    "denies",
    "disowns",
    "elided",
    "forges",
    "gives_up",
    "heading_role",
    "introduces",
    "is_conclusive",
    "is_confidence",
    "is_fragment",
    "is_name",
    "is_neither",
    "names_in",
    "quotes_a_part",
    "reports",
    "retracts",
    "revises",
    "role",
    "says_so",
    "seems",
    "sets_aside",
    "speaks",
    "subject",
    "turns",
    "undoes",
]

TIE = -1  # the verdict that neither is better


def _words(alternatives: str) -> str:
    """One of several words or phrases, with the space behind it."""
    return f"(?:(?:{alternatives}) )"


_NAME = r"(?:the )?(?P<name>[§¤¢][01]) "
_OTHER = r"(?:the )?(?P<other>[§¤¢][01]) "
_NOUNS = rf"(?:{NOUN}|one|ones|pick|job|performer|performance|fit|match)"
_ADVERBS = (
    "clearly|slightly|marginally|significantly|considerably|substantially|definitely|certainly|obviously|noticeably|"
    "generally|ultimately|undoubtedly|decidedly|distinctly|vastly|greatly|strongly|narrowly|easily|probably|likely|"
    "arguably|objectively|plainly|evidently|simply|really|truly|overwhelmingly|markedly|notably|unquestionably|"
    "unambiguously|barely|moderately|comfortably|genuinely|honestly|personally|therefore|thus|hence|overall|much|far|"
    "by far|a bit|a little|just|still|indeed|in fact|actually|somewhat|quite|then|also|now|finally|altogether|rather|"
    "on balance|on the whole|in my opinion|in my view|for me|to me|all in all|by a wide margin|way|even|instead|"
    "without a doubt|without question|without doubt|hands down|here|in this case"
)
_ADV = f"{_words(_ADVERBS)}*+"

# What a decision may begin with.
_LEADS = (
    r"and|but|so|yet|then|thus|hence|therefore|consequently|accordingly|overall|ultimately|finally|lastly|clearly|"
    r"obviously|evidently|however|nevertheless|nonetheless|still|instead|honestly|personally|frankly|altogether|"
    r"summary|conclusion|bottom line|the bottom line|tl;dr|tldr|in conclusion|in summary|in short|in sum|in brief|in "
    r"the end|in total|in all|in general|in this case|in this comparison|in this instance|in my (?:humble |honest |own "
    r")?(?:opinion|view|judge?ment|assessment|evaluation|estimation)|all in all|all things considered|all told|"
    r"everything considered|taken together|on balance|on the whole|on reflection|on second thoughts?|upon reflection|"
    r"after all|at the end of the day|as a result|as such|to me|for me|for (?:this|that|these|those|all these|all of "
    r"these|the above|the following|both) reasons?|(?:that|this|which) is why|that's why|because of (?:this|that)|to "
    r"(?:conclude|sum up|summari[sz]e)|summing up|with that said|that said|that being said|having said that|given "
    r"(?:this|that|all (?:this|that|of this))|now|ok|okay|well|yes|in light of (?:this|that|the above)|based on "
    r"(?:this|that|these|the above)(?: \w+)?|of the two(?: \w+)?|between the two(?: \w+)?|wait|actually|hmm|i repeat|"
    r"again|correction|(?:second|third)(?! (?:best|choice|place|rank|prefer))|first of all|put simply|simply put|(?:i|"
    r"we) (?:(?:would|will|can|must|do|have to|"
    r"should|may|also|therefore|thus|hence|now|am inclined to|am going to|still|strongly|firmly|personally|honestly|"
    r"confidently|would have to) )*(?:think|believe|feel|find|conclude|judge|say|decide|determine|consider|hold|rule|"
    r"deem|maintain|concluded|decided|determined|argue|am convinced|am confident|am sure|am certain|stand by|have "
    r"(?:decided|determined|concluded))(?! (?:for|on|in|with|against|to) )(?: that)?|i(?:'d|'ll) (?:have to )?(?:also |"
    r"still |therefore )?(?:say|argue|conclude|judge|rule)(?: that)?|i'm (?:convinced|confident|sure|certain)(?: "
    r"that)?|(?:it is|it's|it seems|it is quite|it is very) (?:clear|evident|obvious|apparent|clear to me|fair to say|"
    r"safe to say|my (?:opinion|view|verdict|judge?ment|belief|conclusion))(?: that)?|(?:this|which|that|all this|all "
    r"of this) (?:means|shows|makes it clear|suggests|indicates|implies|leads me to (?:conclude|believe|think|say))(?: "
    r"that)?|(?:the|my|our) (?:final |overall |own )?(?:verdict|conclusion|decision|judge?ment|opinion|view|assessment|"
    r"evaluation|finding|answer|feeling) is that|(?:one|we|it) (?:can|could|may|must) (?:be )?(?:concluded?|said?|"
    r"seen?)(?: that)?|i come to the conclusion that|i have come to the conclusion that|considering (?:all|everything|"
    r"this|these|the above)[^¶§¤¢]{0,40}|by (?:a )?(?:small|narrow|slight|slim|fine|wide|large|clear|thin|tiny|"
    r"comfortable|considerable) margin|by a hair|by a whisker|just barely|without a doubt|without doubt|without "
    r"question|hands down|no doubt|all right|alright|so yes|yes"
)
_LEAD = f"{_words(_LEADS)}*+"

_BECAUSE = (
    r"because|since|due to|given|owing to|thanks to|on account of|for (?:its|it|being|the reason|the reasons|these|"
    r"this reason|the following|having|several|two|three|providing|giving|staying|following|a few|many|multiple)|as "
    r"(?:it|this|they|the [§¤¢]|[§¤¢]|its|that|he|she|there|the (?:other|response|answer|first|second|former|latter|"
    r"better|best|winner|stronger|preferred|superior|more|user|instruction|question|prompt|task|request)|both|neither|"
    r"i|a (?:better|whole)|my|well|such)"
)
_ENDS = r"(?=$|[¢][01] $|"
_AFTER_NAME = (
    rf"{_ENDS}(?:{_BECAUSE}|over|rather than|instead of|instead|in favou?r of|than|while|whereas|which|who|although|"
    r"though|even|by|and not|not|overall|here|as well|this time|with (?:no|its|the|a|more|about|roughly|high|low|"
    r"medium|moderate|some|great|full|\S*%)|on (?:balance|the whole)|in (?:this|my|the end|every|all|general|terms of "
    r"overall)|wins?|for (?:this|the) (?:task|request|prompt|question|instruction|purpose)|of the two|between the two|"
    r"is (?:better|the better|best|superior|the best|the winner|preferred|preferable|the clear|clearly better|"
    r"stronger|the stronger))\b)"
)
_TASK = (
    r"(?:this|the) (?:user's |given |particular |specific |original )?(?:task|request|prompt|question|user|instruction|"
    r"purpose|query|job|reason|reasons)"
)
_WISH = (
    r"(?:(?:the|this|that|these|all|both|what|of|given|original|user's|user|actual|specific|stated) )*(?:requests?|"
    r"questions?|tasks?|needs?|concerns?|instructions?|prompt|query|requirements?|criteria|purpose|ask|intent|user|"
    r"asked|problem|brief) "
)
# What may follow a comparison: "1 beats 2 in every respect", but not "1 beats 2 in length".
_AFTER_OTHER = (
    rf"{_ENDS}(?:{_BECAUSE}|while|whereas|although|though|even|and|overall|here|by|so|in (?:this|my|every|all|general|"
    rf"the end|total|both|nearly every|almost every)|on (?:balance|the whole|every|all)|for {_TASK}|to me|this time|"
    rf"today|now|indeed|hands down|at (?:answering|following|addressing|fulfilling) {_WISH}?)\b)"
)
_AFTER_BETTER = (
    rf"{_ENDS}(?:{_BECAUSE}|while|whereas|although|though|even|overall|here|by (?:far|a|some|quite)|of (?:the two|both|"
    rf"these|them)|among|between the two|for {_TASK}|for me|in (?:this|my|every|all|general|the end|comparison|both|"
    r"total)|on (?:balance|the whole|every|all)|in almost every|to me|and|rather than|over|that|not|to (?:the|this) "
    r"(?:user's )?(?:question|request|prompt|task|instruction|query)|at the task|at (?:answering|following|addressing|"
    rf"fulfilling) {_WISH}|this time|today|now|compared (?:to|with)|when compared|too|indeed)\b|than (?:the "
    rf")?(?:[§¤¢][01]|other one|other response|other|second|first|that of \S+) {_AFTER_OTHER})"
)
_BETTER = (
    rf"(?:(?:the |a |an |my |our )?{_ADV}(?:(?:overall|clear|obvious|final|definite|more|most|most|outright|undisputed|"
    r"deserving|preferred|superior|much|far|slightly|marginally|clearly) )*(?:better|best|superior|preferred|"
    r"preferable|stronger|strongest|winner|winning|favou?rite|chosen|(?<=the )(?:more|most) (?:helpful|useful|"
    rf"appropriate|suitable|satisfactory|convincing|harmless)(?= {_NOUNS} )|(?<=the )(?:safer|less harmful)(?= "
    rf"{_NOUNS} ))(?: (?:overall|quality|ai))*(?: {_NOUNS}| choice)? |(?:the |my |our )(?:(?:clear|final|overall|"
    r"preferred|obvious|first) )*(?:winner|choice|pick|preference|favou?rite|selection|vote|verdict|answer) |the one "
    r"(?:that )?(?:i|we) (?:would |'d )?(?:prefer|choose|pick|select|favou?r) |the one to (?:choose|prefer|pick) |"
    r"ahead |on top |victorious |what i (?:would )?(?:prefer|choose|pick) )"
)
_IS = (
    r"(?:is|was|'s|remains|seems|seems to be|looks|looks like|appears|appears to be|proves|proves to be|does|performs|"
    r"performed|comes out|came out|ends up|stands out as|emerges|emerges as|works|has to be|must be|turns out to be|"
    r"reads|fares|ranks|ranks as|qualifies as|i find|are|is to be|is considered|is judged|is deemed|is simply|"
    r"represents|does the job|answers|would be(?= (?:the|a|my) )|can be considered|should be considered|does a|did) "
)
_SUBJECT_WINS = (
    r"(?:wins|won|prevails|takes it|takes the win|takes the prize|takes the lead|gets my vote|gets the win|gets the "
    r"nod|gets the edge|gets my preference|has the edge|has an edge|has the upper hand|edges it|edges ahead|earns my "
    r"vote|comes out ahead|deserves (?:the |to )win|should win|must win|has won|is what i (?:would )?(?:prefer|choose|"
    r"pick)|(?:should|must|is to|has to|would|will) be (?:the )?(?:my )?(?:preferred|chosen|selected|favou?red|picked|"
    r"preferable|preference|choice|pick)|(?:gets|has|receives|earns) my (?:vote|preference)) "
)
_BEATS = (
    r"(?:beats|outperforms|surpasses|outshines|edges out|trumps|outdoes|exceeds|wins over|wins against|defeats|tops|is "
    r"preferred (?:over|to)|is preferable to|is superior to|is better than|outclasses) "
)
_WORSE = (
    rf"(?:is|was|seems|performs|does|remains) {_ADV}(?:worse|weaker|inferior|poorer|less good|not as good) (?:than|to|"
    r"as) "
)
# In "A better answer is B" the first name is an article.
_DET = r"(?:(?:the|my|our|a|an|this|here is (?:my|the)|here's (?:my|the)|and my|and the|¤[01]) )?"
_VERDICT = (
    rf"(?:verdict|decision|judge?ment|conclusion|choice|pick|preference|winner|winning {_NOUNS}|answer|selection|"
    rf"ruling|vote|recommendation|result|outcome|{_ADV}(?:better|best|preferred|preferable|superior|stronger|strongest|"
    r"winning|chosen|selected|higher-quality|more preferable|favou?red)(?: overall)?(?: quality)?(?: ai)?(?: "
    rf"{_NOUNS})?(?: of the two(?: \w+)?)?(?: here)?(?: overall)?(?: between the two)?|one (?:that )?(?:i|we) (?:would "
    r")?(?:prefer|choose|pick|select|favou?r)|one that (?:is better|wins|performs better)|(?:1st|first) (?:place|"
    r"rank)|decided|settled)"
)
_KINDS = (
    r"(?:(?:final|overall|own|ultimate|corrected|revised|updated|new|amended|clear|obvious|official|definitive|"
    r"concluding|short|single|one-word|personal|considered|honest|firm|judge's|to conclude|undisputed|outright|first) "
    r")*"
)
_WORD_ELSEWHERE = (
    r"(?:(?:最终|最終|我的|最后)?(?:答案|回答|判断|判定|结论|結論|裁决|选择|選擇|评判|判決|更好的回答|结果)"
    r"(?:是|为|は|：)?|(?:endgültige |meine |mein |"
    r"endgültiges )?(?:antwort|urteil|entscheidung|wahl|fazit|bewertung)(?: ist)?|(?:la |le |ma |mon |el |mi |il |lo |"
    r"o |a |minha )*(?:meilleure |mejor |melhor |migliore )?(?:réponse|reponse|respuesta|resposta|risposta|verdict|"
    r"veredicto|verdetto|veredito|décision|decisión|decisione|decisão|choix|conclusion|conclusión|conclusione)(?: "
    r"finale?)?(?: est| es| è| é)?|(?:мой |лучший |окончательный |итоговый )*(?:ответ|вердикт|решение|вывод)|"
    r"(?:정답|답|"
    r"판정|최종 답변)|(?:odpowiedź|werdykt|antwoord|oordeel|svar|dom))"
)
_TOPIC = (
    rf"(?:{_LEAD}{_DET}{_KINDS}{_VERDICT} (?:as follows |below |number )?|{_LEAD}(?:the |my )?final |"
    rf"{_WORD_ELSEWHERE} |{_LEAD}(?:which|what|who) "
    rf"(?:{_NOUNS} |of the two(?: \w+)? |of these |one )*(?:is|was|would be|wins|do i prefer|would i choose) "
    rf"?{_ADV}(?:the )?(?:{_BETTER})?(?:of the two )?(?:overall )?)"
)
_LINK = r"(?:(?:is|was|are|=|would be|has to be|must be|goes to|would have to be|for|remains|will be|should be) )"
_BETWEEN_WORDS = (
    "clearly|definitely|obviously|therefore|thus|hence|undoubtedly|certainly|still|then|simply|overall|probably|likely|"
    "without a doubt|indeed|as follows|now|ultimately|number|that of|for"
)
_BETWEEN = f"(?:{_words(_BETWEEN_WORDS)}*+)"
_CHOOSE = (
    r"(?:prefer|choose|pick|select|favou?r|go with|vote for|opt for|lean towards?|side with|recommend|declare|rank|"
    r"rate|give it to|give the edge to|give the win to|give my vote to|give the nod to|give preference to|give the "
    r"point to|award the win to|award it to|settle on|decide for|decide on|decide in favou?r of|rule for|rule in "
    r"favou?r of|judge in favou?r of|stick with|stay with|cast my vote for|come down on the side of|endorse|chose|"
    r"picked|selected|preferred|went with|voted for|going with|choosing|picking|selecting|leaning towards?|siding with|"
    r"voting for|take|taking|put my money on|end up with|hand it to)"
)
_I = (
    r"(?:(?:i|we) (?:(?:would|will|do|must|have to|have|am going to|am inclined to|tend to|should|can|choose to|want "
    r"to|would like to|am|had) )*|i'm |i'd (?:have to )?|i'll (?:have to )?|we'd |i'm (?:going to |inclined to )?|my "
    r"vote is to |i've |if (?:i had to choose|forced to choose|pressed) i (?:would )?)"
)

# Each way to decide for the response in `name`. An order ("Choose 1") is none: that is what forged verdicts are.
_FOR = patterns(
    rf"""
    {_LEAD}{_NAME}{_ADV}{_IS}{_ADV}{_BETTER}{_AFTER_BETTER}
    {_LEAD}{_NAME}{_ADV}{_SUBJECT_WINS}{_AFTER_BETTER}
    {_LEAD}{_NAME}{_ADV}(?:better|best) (?:addresses|answers|meets|follows|fulfill?s|serves|executes|satisfies|
        responds to|handles|suits|fits|matches) {_WISH}
    {_LEAD}(?P<name>[§¤¢][01]) (?:then|it is|it is then|for me|for sure|all the way) $
    {_LEAD}(?:i|we|i'll|i'm|i'd|i will) (?:now |would |have to |must |therefore |am )*(?:change|changing|changed|
        switch|switching|switched|revise|correct|update|move|reverse) (?:my (?:\w+ )+)?(?:to|in favou?r of) {_NAME}
        {_AFTER_NAME}
    {_LEAD}{_NAME}{_ADV}{_BEATS}{_OTHER}{_AFTER_OTHER}
    {_LEAD}{_NAME}{_ADV}{_IS}{_ADV}(?:better|superior|preferable|preferred|stronger) (?:than|to|over) {_OTHER}
        {_AFTER_OTHER}
    {_LEAD}(?:{_DET}{_KINDS}{_VERDICT} |{_WORD_ELSEWHERE} ?){_BETWEEN}{_LINK}{_BETWEEN}(?:the |option |number )*
        {_NAME}{_AFTER_NAME}
    {_LEAD}(?:{_DET}{_KINDS}{_VERDICT} |{_WORD_ELSEWHERE} ){_NAME}$
    {_LEAD}{_I}{_ADV}{_CHOOSE} {_ADV}{_NAME}(?:as (?:the |my )?{_BETTER}|to be (?:the )?{_BETTER}|(?:the )?winner |
        first |higher |above {_OTHER})?{_AFTER_NAME}
    {_LEAD}(?:i|we) (?:would |do |can |therefore |thus )*(?:consider|find|judge|deem|rate|regard|declare|rank|see|
        think|call|hold) {_NAME}(?:as |to be |is )?{_BETTER}{_AFTER_BETTER}
    {_LEAD}my (?:final |overall |own )?(?:vote|preference|choice|point|decision|verdict|pick|nod) (?:goes|is given|
        belongs|leans|falls|is cast|would go|must go|is) (?:to|for|with|towards?|on|in favou?r of) {_NAME}
        {_AFTER_NAME}
    {_LEAD}the (?:win|point|edge|nod|victory|prize|advantage) (?:goes|belongs|must go|should go) to {_NAME}
        {_AFTER_NAME}
    {_LEAD}(?:(?<=find )|(?<=deem )|(?<=judge )|(?<=consider )){_NAME}(?:as |to be )?{_BETTER}{_AFTER_BETTER}
    {_LEAD}(?:it's|it is|it has to be|it must be) (?:the )?(?P<name>§[01]) (?:for me |overall |then |by far |
        for sure )?$
    {_LEAD}(?:making|which makes|this makes|that makes|leaving|which leaves|this leaves) {_NAME}{_BETTER}
        {_AFTER_BETTER}
    {_LEAD}{_NAME}(?:>+|≽) {_OTHER}$
"""
)
# Each way to decide for the response in `other`.
_AGAINST = patterns(
    rf"""
    {_LEAD}{_I}{_ADV}(?:prefer|choose|pick|favou?r|rank|rate|rank|place|put|take) (?:it|this one|that one|this) {_ADV}
        (?:over|to|above|rather than|instead of|higher than|ahead of|before) {_NAME}(?P<it>)$
    {_LEAD}{_NAME}{_ADV}{_WORSE}{_OTHER}{_AFTER_OTHER}
    {_LEAD}{_NAME}(?:<+|≼) {_OTHER}$
"""
)

_PAIR = (
    rf"(?:both(?: of (?:them|the {NOUN}|these {NOUN}))?(?: the)?(?: {_NOUNS})?|(?:the|these) two(?: {_NOUNS})?|they|"
    rf"the {NOUN}|[§¤¢][01] and (?:the )?[§¤¢][01]|both [§¤¢][01] and (?:the )?[§¤¢][01]|it|this|that|i find (?:both|"
    rf"them)(?: {_NOUNS})?|all)"
)
_QUALITY = (
    r"(?:good|bad|strong|weak|poor|valid|great|well|matched|helpful|harmless|harmful|unhelpful|acceptable|unacceptable|"
    r"excellent|deserving|preferable|capable|well-done|wrong|correct|useful|useless|satisfactory|well done|effective)"
)
_SAME = (
    rf"(?:equally {_QUALITY}|equal|equals|tied|even|on par|on a par|equivalent|identical|evenly matched|comparable|a "
    r"tie|a draw|an even match|of (?:the )?(?:equal|same|identical|comparable|similar) quality|equal in quality|"
    r"(?:the same|alike) in (?:overall )?quality|equally matched|the same|indistinguishable|a toss-up|no different)"
)
_AFTER_TIE = (
    rf"{_ENDS}¢= $|(?:{_BECAUSE}|and|overall|here|between|in (?:quality|my|every|all|this|general|overall|the end)|on "
    r"(?:balance|the whole|every|all)|with no|with neither|where|to me|so|than the other|than (?:the )?[§¤¢]|or|of "
    r"the two|of them|at all|for me|by any|that|for (?:this|the) (?:task|request|prompt|question)|this time|as "
    r"neither)\b)"
)
_TIES = patterns(
    rf"""
    {_LEAD}(?:it|this|that|they|the two|both|these|there|this one|the (?:result|outcome|comparison|verdict|match)|
        {_PAIR}) (?:is|'s|are|was|ends? in|results? in|seems to be|looks like|would be|has to be|must be|remains|
        ends? up) {_ADV}(?:really |basically |essentially |effectively |pretty much |exactly )*(?:a |an |
        the )?(?:clear |dead |perfect |complete |true )?(?:tie|draw|tied|toss-up) {_AFTER_TIE}
    {_LEAD}(?:it's|it is|that's|they're|they are) {_ADV}(?:a |an )?(?:clear |dead |perfect )?(?:tie|draw|tied|toss-up|
        equal|even) {_AFTER_TIE}
    {_LEAD}(?:a |an )?(?:clear |dead |perfect )?(?:tie|tied|draw|equal|equally good|no winner|no preference|
        both equal|even|toss-up|no difference)(?: (?:between|for) (?:the two|both|them|{_PAIR})
        (?: {_NOUNS})?)? (?:¢= )?$
    {_LEAD}{_DET}{_KINDS}{_VERDICT} {_BETWEEN}(?:{_LINK})?{_BETWEEN}(?:that it is |it's )?(?:a |an )?(?:tie|draw|tied|
        equal|toss-up|both|neither) {_AFTER_TIE}
    {_LEAD}{_PAIR} (?:{_NOUNS} )?(?:are|is|'re|perform|performed|seem|seem to be|appear|appear to be|do|did|were|look|
        remain|work|rank|score|tie) {_ADV}(?:about |all |both |roughly |nearly |essentially |basically |effectively |
        exactly |practically |virtually )*{_SAME} {_AFTER_TIE}
    {_LEAD}(?:they're|they) {_ADV}(?:about |both )*{_SAME} {_AFTER_TIE}
    {_LEAD}(?:the two|both|they)(?: {_NOUNS})? tie {_AFTER_TIE}
    {_LEAD}neither (?:{_NOUNS} |of (?:them|the two|these|the {NOUN}|the two {NOUN}) |
        [§¤¢][01] nor (?:the )?[§¤¢][01] )?(?:is|are|was|wins|seems|does|performs|stands out|can be called|
        has an edge|outperforms the other)(?: as)? ?{_ADV}(?:really |any |at all )*(?:{_BETTER}|(?<=wins )|(?<=out )|
        (?<=edge )|(?<=other )){_AFTER_TIE}
    {_LEAD}there (?:is|'s) (?:really )?(?:no|not a) (?:clear |single |obvious |overall |real |definite )*(?:winner|
        better {_NOUNS}|best {_NOUNS}|difference in (?:overall )?quality|preference) {_AFTER_TIE}
    {_LEAD}{_I}{_ADV}(?:call|declare|rate|consider|judge|rule|score|deem|see|mark|have|regard|find) (?:it|this|them|
        both|the two|the {NOUN}|both {NOUN}|the comparison|this comparison|the match)? ?(?:as )?(?:to be )?(?:a |
        an )?(?:tie|draw|tied|equal|even|equally good|toss-up) {_AFTER_TIE}
    {_LEAD}(?:(?<=find )|(?<=deem )|(?<=judge )|(?<=consider )|(?<=rule ))(?:it|this|them|both|the two|the {NOUN}|
        both {NOUN}) (?:as |to be )?(?:a |an )?(?:tie|draw|tied|equal|even|equally good|toss-up) {_AFTER_TIE}
    {_LEAD}{_I}(?:have|see|find|feel) no (?:clear |strong |overall )*(?:preference|winner|difference) {_AFTER_TIE}
    {_LEAD}{_I}(?:do not|don't|cannot|can't) (?:have a preference|prefer either) {_AFTER_TIE}
    {_LEAD}{_NAME}(?:=+ |≈ ){{1,2}}{_OTHER}$
    {_LEAD}¢= $
"""
)
_HAS_NAME = re.compile(r"[§¤¢][01] ")
_MAY_TIE = re.compile(
    r"\b(?:ti(?:e|ed)|draw|equal\w*|even|no|neither|same|par|match|toss-up|equivalent|identical|comparable|alike|"
    r"different|indistinguishable|both|don't|cannot|can't|not)\s|[=≈]|¢="
)
_NAME_ALONE = re.compile(rf"{_LEAD}(?:the |definitely |clearly )*(?P<name>[§¤¢][01]) (?:is )?$")


@cache
def _decisions() -> list[tuple[re.Pattern[str], str]]:
    """Compiled where a text is read first: a program that reads none starts a quarter of a second earlier."""
    return [
        *((re.compile(pattern), "name") for pattern in _FOR),
        *((re.compile(pattern), "other") for pattern in _AGAINST),
    ]


@cache
def _tie_patterns() -> list[re.Pattern[str]]:
    return [re.compile(pattern) for pattern in _TIES]


def decided(words: str) -> tuple[int, int] | None:
    """What a clause decides for (0, 1 or TIE) and which of the names in it that is, counted from 0 (-1 of a tie)."""
    if _HAS_NAME.search(words):
        for pattern, group in _decisions():
            if match := pattern.match(words):
                if "it" in pattern.groupindex:
                    return 1 - int(match["name"][1]), -1
                name = match[group]
                other = match.groupdict().get("other" if group == "name" else "name")
                rest = re.search(r"¢([01]) $", words)
                if (other and other[1] == name[1]) or (rest and rest[1] != name[1]):
                    return None
                return int(name[1]), len(_HAS_NAME.findall(words[: match.start(group)]))
    if _MAY_TIE.search(words) and any(pattern.match(words) for pattern in _tie_patterns()):
        return TIE, -1
    return None


def is_name(words: str) -> re.Match[str] | None:
    """Whether a clause is a name and nothing more, but for "Therefore" and the like; its group `name` is it."""
    return _NAME_ALONE.fullmatch(words)


class Role(Enum):
    """What a clause that does not decide does for those after it."""

    TOPIC = auto()  # "my verdict is": a name that follows is one
    LEAD = auto()  # "therefore": nothing
    NEUTRAL = auto()  # anything else that changes nothing
    REPORT = auto()  # "Response 1 says": not the judge's own words
    LIMITS = auto()  # "in terms of style", "if it were shorter", "some would say": not of the whole comparison
    RESUMES = auto()  # "but ...": what an earlier clause limits is over


_SAYS = (
    r"says?|said|saying|claim(?:s|ed|ing)?|asserts?|asserted|declares?|declared|declaring|announces?|announced|writes?|"
    r"wrote|written|writing|reads|states?|stated|stating|contains?|containing|contained|includes?|included|including|"
    r"ends|(?<!the )end|ending|ended|closes?|closing|begins? with|starts? with|opens? with|adds?|adding|added|"
    r"appends?|appended|"
    r"inserts?|inserted|inject\w*|forg(?:e|es|ed|ing|ery)|fakes?|faked|smuggl\w+|embed\w*|hidden|hides|quot(?:es?|ed|"
    r"ing|ation)|cites?|instruct(?:s|ed|ing)|tells?|told|asks?|asked|asking|orders?|commands?|demands?|urges?|"
    r"attempts?|attempting|tr(?:ies|ied|ying)|manipulat\w+|tricks?|tricking|ignor(?:e|es|ing)|disregard\w*|pretend\w*|"
    r"insists?|insisting|according to|reported(?:ly)?|supposed(?:ly)?|alleged(?:ly)?|so-called|planted|copied|copies|"
    r"prints?|puts|places|wants|payload|boasts?|brags?|proclaims?|self-\w+|suggests?|argues?|argued|concludes with|"
    r"finishes|finishing|repeats?|mentions?|presents?|shows?|displays?|mimics?|imitates?|appears in|comes from|came "
    r"from|taken from|found in|appearing|jailbreak|spoof\w*|fabricat\w+|bogus|counterfeit|sneak\w*|slip(?:s|ped)"
)
_TEXTS = (
    r"examples?|sample|format|message|prompt|notes?|words|comments?|phrase|sentence|text|instructions?|lines?|string|"
    r"footer|header|snippet|excerpt|quotation|passage|statement|output|input|content|paragraph|this|opens|starts|begins"
)
_REPORTS = re.compile(rf"\b(?:{_SAYS})\b")
_OPINION = re.compile(
    r"(?:^| )(?!i |we |i'd )(?:some|many|most|others|one|people|users?|readers?|someone|anyone|they|he|she|you|critics|"
    r"experts|humans?|annotators?|raters?|another|everyone|a \w+|an \w+|the (?:user|author|reader|customer|crowd|"
    r"annotator|other judge|first judge|reviewer|human)) (?:\w+ )?(?:would|might|may|could|can|will|say|says|said|"
    r"think|thinks|thought|believe|believes|prefer|argue|argues|claim|claims|feel|feels|find|finds|favou?rs?|wants?|"
    r"suggests?|insists?|expects?|picked|chose|voted|wrote) "
)
_CONDITION = re.compile(
    r"(?:(?:and|but|so|now|then) )*(?:if|unless|when|whenever|where|were|had|should|assuming|suppose|supposing|"
    r"provided|whether|imagine|in case|depending|as long as|so long as|to the extent|had|until|maybe|perhaps|possibly|"
    r"might|once|why|how) (?!(?:i|we|one) (?:have|had|must|need|needed|were|was|am) (?:to |forced|pressed|asked|only)|"
    r"forced|pressed|pushed|comparing|considering|i compare|weighing|taking)"
)
_ASPECT = re.compile(
    r"(?:(?:and|but|so|while|now|then) )*(?:in|on|for|at|from|to|under|as for|as to|as far as|regarding|concerning|"
    r"with (?:regards?|respect)|by|purely|strictly|judging|speaking|initially|originally|previously|superficially|"
    r"theoretically|formally|technically|\w+(?:ally|wise|ably|ically|arly)) (?!answering|addressing|providing|"
    r"following|contrast|comparison|comparing|my |evaluating|reread\w*|re-\w+|reflection|reconsider\w*|closer|further|"
    r"second |the end|conclusion|summary|addition|this case|light|light "
    r"of|particular|other words|fact|general|all|short|sum|both|order|response to|be |be fair|some|doing)"
)
_ASPECT_ALONE = re.compile(r"(?:\w+(?:ly|wise)|at first|first|on paper|in theory|\w+ \w+-wise) $")
_RESUMES = re.compile(
    r"(?:but|however|yet|still|nevertheless|nonetheless|overall|therefore|thus|hence|ultimately|in conclusion|all in "
    r"all|on balance|on the whole|i |my |we |whereas|while|although|even|so|and so|and therefore) "
)
_LEAD_ALONE = re.compile(rf"{_LEAD}")
_TOPIC_ALONE = re.compile(rf"{_LEAD}{_TOPIC}(?:{_LINK})?{_BETWEEN}(?:the )?(?:{_NOUNS} )?")
_NEUTRAL_TOPIC = re.compile(
    r"(?:(?:here's|here is|the|my|our|a|some|final|overall|general|brief|detailed|short|step-by-step|comparative|"
    r"further|additional) "
    r")*(?:reasoning|reasons?|analysis|explanation|evaluation|conclusion|comparison|assessment|justification|rationale|"
    r"summary|discussion|thoughts?|remarks?|comments?|notes?|overview|review|critique|feedback|judge?ment|verdict|"
    r"overall|result|output|response|thinking|considerations?|thought process|step \S+|in short|tl;dr|tldr|bottom line|"
    r"both|observations?|findings|details|evaluation results?|final thoughts?|recommendation|take|view|opinion|"
    r"quality|overall quality|"
    r"answer|decision|ranking|outcome|yes|no|sure|ok|okay|\d+) "
)


def role(words: str, sign: str) -> Role:
    """What a clause that decides nothing does; `sign` is the one behind it."""
    if _TOPIC_ALONE.fullmatch(words):
        return Role.TOPIC
    if _LEAD_ALONE.fullmatch(words):
        return Role.LEAD
    if _CONDITION.match(words) or _OPINION.search(words):
        return Role.LIMITS
    if _ASPECT_ALONE.fullmatch(words) or _ASPECT.match(words):
        return Role.LIMITS
    if _REPORTS.search(words):
        return Role.REPORT
    if sign in (":", "-") and not _NEUTRAL_TOPIC.fullmatch(words) and _is_heading(words):
        return Role.LIMITS
    if words.endswith(" that "):
        return Role.LIMITS
    if _RESUMES.match(words):
        return Role.RESUMES
    return Role.NEUTRAL


def _is_heading(words: str) -> bool:
    return words.count(" ") <= 4 and not re.search(
        (r"\b(?:is|are|was|were|has|have|both|i|we|wins|do|does|compared|comparing)\b"), words
    )


_UNDOES = re.compile(
    r"(?:(?:but|and|though|although|or) )*(?:only |just )?(?:if|unless|when|provided|assuming|as long as|so long as|"
    r"(?:it|they|he|she|the \w+|some|others) (?:says?|said|claims?|insists?|asserts?|argues?|tells)|says|said|claims?|"
    r"claimed|writes|wrote|according to|or so|in terms of|with (?:regard|respect)|regarding|concerning|they say|right|"
    r"at least (?:in|on|for|if|when|according|as far)|as (?:the )?[§¤¢][01] (?:says|claims|puts|states|wrote|asserts|"
    r"insists|would)|as (?:it|they|he|she|some|the \w+) (?:says?|claims?|puts?|insists?|would have)|or (?:is|does|are)|"
    r"is it|isn't it|which is what (?!was asked|i |we |the (?:user|prompt|question|task|instruction))|is what|that is "
    r"what|depending|in (?:style|tone|form|format|length|part|parts|"
    r"places|some)|stylistically|technically|formally|from a|as (?:quoted|written|stated|claimed) (?:in|by)|quoted|"
    r"from (?:the )?(?:[§¤¢]|response|text)|this is (?:what|quoted)|so (?:it|they|claims|says|the (?:text|response|"
    r"line|note|answer))|as (?:instructed|requested|demanded|told|ordered)|(?:just )?(?:kidding|joking)|(?:the "
    r")?(?:worse|weaker|worst|loser|losing)(?: one)?|wrong|rejected|no|that is from|were it|had it|not) "
)


def undoes(words: str, aside: bool) -> bool:
    """Whether a clause behind a decision takes it back: a condition, one aspect, somebody else's words."""
    if re.match(r"not (?:only|just|least|by|because|the )?(?:the )?(?:[§¤¢]|only|just|least|because|by)", words):
        return False
    return _UNDOES.match(words) is not None or (
        aside and _REPORTS.search(words) is not None and _HAS_NAME.search(words) is not None
    )


_BLAMES = re.compile(
    r"(?:[,;:(-] )*(?:(?:because|since|as|it|this|that|which|one|is|'s|was|it's|that's|the|a|an|clearly|much|far) "
    r")*(?:worse|"
    r"worst|weaker|weakest|loser|loses|losing|wrong|rejected|no|not|never|incorrect|bad|poor|fails|failed|inferior|"
    r"kidding|just kidding|joking|out|instructed|requested|demanded|ordered|told) "
)
_BLAMES_LATER = re.compile(
    r"\b(?:as|because|since) (?:the )?(?:response|text|answer|instructions?|[§¤¢][01]) (?:\w+ )?(?:says|said|tells|"
    r"told|demands|claims|instructs|asks|wants|"
    r"orders|insists|requests)|\b(?:told|instructed|ordered|asked) (?:me|to)|\b(?:requested|demanded) (?:by|in) "
)


def blames(words: str) -> bool:
    """Whether what stands behind a name alone speaks against it, or says that somebody else names it."""
    return _BLAMES_LATER.search(words) is not None or (
        _BLAMES.match(words) is not None and re.match(r"(?:[,;-] )?not (?:because|the other|[§¤¢])", words) is None
    )


_NAMES_SPEECH = re.compile(
    r"\b(?:says?|said|saying|claim(?:s|ed|ing)?|assert\w*|declar\w*|announc\w*|writes?|wrote|written|reads?|states?|"
    r"tells?|told|asks?|orders?|commands?|demands?|urges?|insists?|boasts?|ends|ending (?=with|in|by|on|as|[§¤¢:])|"
    r"closes?|concludes|line|lines|"
    r"sentence|phrase|message|quot\w*|proclaims?|wants) "
)
_OF_A_VERDICT = re.compile(
    rf"\b(?:(?:is|are|was|be) (?:the |clearly )*(?:better|best|superior|winner|preferred) (?:{_NOUNS} |than |$|[§¤¢])|"
    rf"(?:better|best|winning) {_NOUNS}|prefer (?:it|me|this|[§¤¢])|(?:choose|pick|select|vote for|prefer) (?:it|me|"
    r"this|the|[§¤¢][01]) ?|wins |(?:rate|rank|judge|grade|score) (?:it|me|this|[§¤¢]))"
)
_FORGED = re.compile(
    r"\b(?:inject(?:ed|ion|ions)|injects? (?:an? |the |its )?(?:verdict|instruction|prompt|command|line|text)\w*|"
    r"forg(?:ed|ery)|fake|smuggl\w+|manipulat(?:e|es|ed|ing|ion|ive) (?:the |me|this |a )?(?:judge|evaluat\w+|grader|"
    r"me|verdict|comparison|result)|trick\w* (?:me|the (?:judge|evaluator|grader))|hidden (?:instruction|text|message|"
    r"note|line|prompt|command)s?|jailbreak|spoof\w*|bogus|counterfeit|verdicts?|the winner|me to (?:write|say|answer|"
    r"output|choose|pick|prefer|declare|rate|give)|(?:the|me|a|any) (?:judges?|evaluators?|graders?|raters?)|ignor(?:e|"
    r"es|ing) (?:the |this |that |any |all )?(?:other|previous|above|instruction\w*|injected|line|text)|disregard "
    r"(?:the|this|that|any|all|previous)|override|overrule|so-called|alleged) "
)


def forges(words: str) -> bool:
    """Whether a clause tells of a verdict that somebody else gave, or of an attempt to forge one."""
    if "¶" in words or not _REPORTS.search(words):
        return False
    if re.match(r"(?:according to|as) (?:the )?[§¤]", words):
        return True
    return _FORGED.search(words) is not None or (
        _NAMES_SPEECH.search(words) is not None and _OF_A_VERDICT.search(words) is not None
    )


_PART = re.compile(
    r"(?:[§¤¢][01] 's (?:\w+ ){0,3}|\b)(?:paragraph|lines?|sentence|ending|end|bottom|top|close|words|text|note|"
    r"comment|message|title|heading|footer|header|postscript|ps|caption|closing|opening|remark)(?: (?:of|in|by|from) "
    r"(?:the )?[§¤¢][01])? $"
)


def quotes_a_part(words: str) -> bool:
    """Whether a clause before a colon names a part of a response: "the last line of Response 1"."""
    return _HAS_NAME.search(words) is not None and _PART.search(words) is not None


def sets_aside(words: str) -> bool:
    """Whether a clause disregards what the sentence before it says: "I ignore that"."""
    return (
        re.match(
            r"(?:i|i'll|which i) (?:will |shall |have |can )?(?:ignored?|disregard(?:ed)?) (?:that|this|it)? ?$", words
        )
        is not None
    )


def reports(words: str) -> bool:
    """Whether a clause, or a sentence, tells what somebody says or a text holds."""
    return _REPORTS.search(words) is not None


_TELLS = re.compile(rf"\b(?:{_SAYS}|{_TEXTS})\b")
_MINE = re.compile(
    rf"{_LEAD}(?:(?:{_DET}{_KINDS}{_VERDICT}) |here (?:is|comes) my |here's my |my |final |(?:i|we) (?:\w+ "
    r")*(?:conclude|decide|judge|choose|prefer|come to|reach|reached|arrive at|arrived at|give|weighed|compared|"
    r"considered|looked at|conclusion|decision|verdict) )"
)
_TELLS_ELSEWHERE = re.compile(
    r"\b(?:ende[tn]\w*|enthält|sagt|schreibt|steht|behauptet|contient|dit|affirme|(?:se )?termin[ea]|écrit|contiene|"
    r"dice|"
    r"afirma|escribe|scrive|finisce|contém|diz|escreve|bevat|zegt|eindigt|schrijft|содержит|говорит|пишет|"
    r"заканчивается|утверждает) |包含|写道|写着|声称|说|結尾|结尾|末尾|書いて|書かれ|含まれ|주장|포함|적혀|끝"
)
_FORM = re.compile(
    r"\b(?:in|of|with|follow\w*|use|using|has|have) (?:the|this|a) (?:\w+ )?(?:form|format|shape|template|layout|"
    r"pattern|"
    r"style|manner|way) $"
)
_FORWARD = re.compile(
    r"\b(?:the following(?: (?:line|lines|text|words|message|sentence|instruction|note|statement))?|as follows|this "
    r"line|these words|these lines) $|^(?:and |but )?here (?:is|are|comes|come) (?!my |our |the verdict|the final)"
)


def introduces(words: str, end: str, title: bool) -> bool:
    """Whether what follows a sentence is what it tells of: "Response 2 ends with:", "The last line of it says"."""
    last = words.rstrip().split(" , ")[-1] + " "
    if end.endswith(":") and _HAS_NAME.search(words) and _TELLS_ELSEWHERE.search(words):
        return True
    if end.endswith(":") and _FORM.search(last) and not _MINE.match(last):
        return True
    if not _TELLS.search(last) or "¶" in last or (_MINE.match(last) and not _HAS_NAME.search(last)):
        return False
    if _NEUTRAL_TOPIC.fullmatch(words):
        return False
    if end.endswith(":") or _FORWARD.search(words):
        return True
    return end == "" and (title or _DANGLES.search(last) is not None)


_DANGLES = re.compile(
    r"\b(?:says?|said|reads?|states?|stated|writes?|wrote|claims?|adds?|contains?|includes?|ends?|closes?|concludes|"
    r"begins?|starts?|opens|with|line|text|words|message|following|quote|finds|is) $"
)
_SPEAKS = re.compile(
    r"\b(?:says?|said|saying|reads|reading|states?|stating|writes?|wrote|writing|claims?|claiming|adds?|adding|"
    r"contains?|containing|ends?(?: with)?|ending(?: with)?|closes?(?: with)?|concludes|begins?(?: with)?|starts?(?: "
    r"with)?|opens|tells me|announces|declares|insists|demands|shouts|screams|yells|orders|commands|asserts|boasts|"
    r"proclaims|pleads|begs|urges|quot\w+|injected|inserted|line|text|words|message|sentence|instruction|instructions|"
    r"note|namely|this|following) (?:\S+ ){0,2}$"
)


def speaks(words: str) -> bool:
    """Whether a clause before a colon announces somebody's words."""
    return (
        (reports(words) or bool(names_in(words)))
        and _SPEAKS.search(words) is not None
        and not _NEUTRAL_TOPIC.fullmatch(words)
    )


_POINTS_BACK = re.compile(
    r"(?:(?:but|and|however|note that|note|again|of course|clearly|obviously|still) )*(?:this|that|these|those|above|"
    r"the (?:above|line|text|verdict|sentence|statement|previous|preceding|quoted|first|last|words|number)|it|which|"
    r"both of these|such)(?: (?:above|line|lines|verdict|verdicts|text|sentence|statement|quoted|one|words|number|"
    r"instruction|last|first))* (?:(?:, )?(?:is|was|are|were|comes|came|appears|stood|stands|belongs|has|have|'s) "
    r")(?!because)"
)
_NOT_MINE = re.compile(
    r"\b(?:wrote|written|writes|inject\w*|forg\w+|fake|faked|quot\w+|copied|taken|not my|not mine|n't mine|n't my|"
    r"planted|insert\w*|embedded|prompt|attempt|trick|manipul\w+|appended|part of|contained|smuggl\w+|hidden|wants|"
    r"wanted|claims?|says|said|response's own)|(?:from|in|of|by|what|inside|within) (?:the )?(?:text of |body of "
    r")?[§¤¢][01] "
)


_SOURCE = re.compile(
    r"(?:- |→ |← )*(?:quoted|copied|taken|cited|excerpted|quote|an? (?:quote|quotation|excerpt)|source) "
)


def disowns(words: str) -> bool:
    """Whether a sentence says of the one before that it is not the judge's own: "That line comes from Response 2"."""
    if words.startswith(("that's ", "it's ", "this's ")):
        words = words.replace("'s ", " is ", 1)
    if _SOURCE.match(words) and (names_in(words) or " from " in words):
        return True
    words = re.sub(r", as (?:the )?[§¤¢][01] \w+ .*", "", words)  # "It is so, as Response 1 says"
    return _POINTS_BACK.match(words) is not None and _NOT_MINE.search(words) is not None


_GIVES_UP = re.compile(
    rf"{_LEAD}(?:i|we) (?:cannot|can't|can not|am unable to|am not able to|refuse to|decline to|won't|will not|could "
    r"not|couldn't|do not|don't|did not|didn't|have not|haven't|have yet to|am yet to) (?:really |honestly |possibly "
    r")*(?:decided?|choose|chosen|pick|picked|select|say which|determined?|judge|tell|know|made (?:a|my|up)|make a|"
    r"reach(?:ed)? a|formed|read|seen|give a verdict)|(?:both |the |your |these )*(?:two )?(?:responses|answers|"
    r"texts) (?:seem|seems|appear|are|were|have)(?: to be| been)? (?:missing|empty|absent|not |cut off)|(?:(?:but|and|"
    r"oh|ah) )*(?:no wait|wait|hold on|hmm|no|nope|"
    r"scratch that|never mind|not so fast) (?:$|[,.:;-])|(?:(?:but|and|actually|wait|hmm|,) )*(?:let me|i (?:need|"
    r"have|want) to|i should) (?:re\w+|think|look|check)|(?:but )?it is (?:hard|impossible|difficult) to (?:say|tell|"
    r"decide)"
)


def gives_up(words: str) -> bool:
    """Whether a sentence that decides nothing takes back what was decided: "I cannot decide", "Wait, ..."."""
    return _GIVES_UP.match(words) is not None and (
        _HAS_NAME.search(words) is None or words.startswith(("wait", "hold"))
    )


def contrasts(words: str) -> bool:
    """Whether a sentence begins with "but", "however" and the like."""
    return (
        re.match(
            (
                r"(?:but|however|yet|still|nevertheless|nonetheless|that said|having said that|on the other hand|"
                r"although|though) "
            ),
            words,
        )
        is not None
    )


def revises(words: str) -> bool:
    """Whether a sentence says that it changes what was decided before."""
    return (
        re.search(
            (
                r"\b(?:wait|actually|on (?:second|further|closer|reflection)|upon (?:reflection|closer)|correction|i "
                r"(?:change|changed|revise|correct|was wrong)|revised|reconsider\w*|instead|re-?read\w*|sorry|mistake|"
                r"after all) ?"
            ),
            words,
        )
        is not None
    )


def concludes(words: str) -> bool:
    """Whether a clause is of the whole comparison, also under a heading of one aspect."""
    lead = _LEAD_ALONE.match(words)
    return bool(lead and lead[0]) or re.match(rf"{_DET}{_KINDS}{_VERDICT} |{_I}", words) is not None


def names_in(words: str) -> set[int]:
    """The responses that are named."""
    return {int(name[1]) for name in _HAS_NAME.findall(words)}


def heading_role(words: str) -> bool:
    """Whether a heading is of the whole ("Verdict", "Analysis"), not of one aspect ("Accuracy")."""
    return bool(
        _TOPIC_ALONE.fullmatch(words)
        or _NEUTRAL_TOPIC.fullmatch(words)
        or _LEAD_ALONE.fullmatch(words)
        or re.search(
            (
                r"\b(?:overall|final|verdict|conclusion|decision|winner|judge?ment|summary|better|evaluat\w+|compar\w+|"
                r"assess\w+|judging) "
            ),
            words,
        )
    )


def is_fragment(words: str) -> bool:
    """Whether a clause goes on with a list: "equally clear, short and kind" is no tie."""
    return (
        words.count(" ") <= 2
        and re.match((r"(?:so|because|since|and (?:neither|both)|both|neither|it|they|overall|really|¢|c $) ?"), words)
        is None
    )


def seems(words: str) -> bool:
    """Whether a clause tells an impression, which a "but" takes back."""
    return re.search(r"\b(?:looks|seems|appears|sounds|feels) ", words) is not None


_CONCLUSIVE = re.compile(
    r"(?:(?:and|so|therefore|thus|hence|overall|ultimately|in conclusion|in summary|all in all|in short|conclusion|"
    r"summary|in the end|on balance) )+"
)


def is_conclusive(words: str) -> bool:
    """Whether a clause is "Therefore" and the like: a name alone that follows is a decision."""
    return _CONCLUSIVE.fullmatch(words) is not None and words != "and "


_RETRACTS = re.compile(
    r"\b(?:let me (?:re-?\w+|think again|check again|double-check|verify|look again|(?:go )?back)|i (?:was|am|'m) "
    r"(?:wrong|mistaken)|i (?:(?:have to|must|need to|should|will|now) )?(?:change|changed|revise|"
    r"take back|retract|withdraw)|on second thoughts?|scratch that|correction|i (?:need|have|want) to re-?\w+|i made a "
    r"mistake|never mind|not so fast|i misread|i meant|i take (?:it|that|this|back|all)|strike that|my mistake|i mixed|"
    r"disregard (?:the|my|that) (?:above|previous|earlier)|(?:please )?(?:disregard|ignore) (?:the above|the previous|"
    r"my (?:previous|earlier|above|first))|oops) |(?:^|, |: )(?:please )?(?:ignore|disregard|forget|strike|scrap) "
    r"(?:that|this|it|what i) "
)


def retracts(words: str) -> bool:
    """Whether a sentence takes back all that was decided before."""
    return _RETRACTS.search(words) is not None


_SURE = re.compile(
    r"(?:\S+% |\S*% |about |roughly |with |confidence |certainty |(?:very |fairly |quite |pretty |absolutely |not very "
    r")?(?:sure|confident|certain) |high |low |medium |moderate |i'm )"
)


def is_confidence(words: str) -> bool:
    """Whether a clause says how sure somebody is."""
    return _SURE.match(words) is not None


_ELIDED = re.compile(
    r"(?:(?:and|so|thus|therefore|hence|which|that) )*(?:it |this |this one |that one )?(?=(?:(?:therefore|thus|hence|"
    rf"clearly|also|overall|still) )*{_IS}|(?:(?:therefore|thus|hence|clearly|overall|still) "
    rf")*{_SUBJECT_WINS})(?P<rest>.*)"
)


def elided(words: str, name: str) -> str | None:
    """A clause whose subject is the one before, "and is therefore better", with `name` for its subject."""
    match = _ELIDED.fullmatch(words)
    return f"{name} {match['rest']}" if match and not _HAS_NAME.match(words) else None


def subject(words: str) -> str | None:
    """The name that a clause begins with, apart from "In summary" and the like."""
    match = re.match(rf"{_LEAD}(?:the )?(?P<name>[§¤¢][01]) (?!'s )", words)
    return match["name"] if match else None


def says_so(words: str) -> bool:
    """Whether a clause ends with a name as its decision: "so 1"."""
    lead = _CONCLUSIVE.match(words)
    return lead is not None and lead[0] != "and " and is_name(words) is not None


def denies(words: str) -> bool:
    """Whether a sentence says that a response is not the better one."""
    return (
        re.search((r"\b(?:not|n't|cannot|disagree|can't|don't|doubt|neither|isn't) "), words) is not None
        and _OF_A_VERDICT.search(words) is not None
    )


def announces(words: str, end: str) -> bool:
    """Whether a sentence leads to the judge's own verdict in the next line, and not to what a response holds."""
    if reports(words) or _FORWARD.search(words) or (names_in(words) and not end.startswith((".", "!"))):
        return False
    return end.startswith((".", "!")) or heading_role(words) or _MINE.match(words) is not None or "json" in words


def turns(words: str) -> bool:
    """Whether a sentence may follow one that decides otherwise: "So", "But", "My verdict is", "I change my mind"."""
    return (
        concludes(words)
        or revises(words)
        or re.search(r"\b(?:but|however|yet|still|while|although|though|overall|therefore|so|hence|thus) ", words)
        is not None
    )


def is_neither(words: str) -> bool:
    """Whether a clause behind "my verdict is" names neither response, or both."""
    return re.fullmatch(r"(?:neither|none|both|no one|neither (?:of them|one)|tied?|draw|equal) ", words) is not None
