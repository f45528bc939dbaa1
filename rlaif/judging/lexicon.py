"""The words of decisions, by what they do; leanings.py puts them together.

Each list is words and phrases between commas. "(s)" is an ending that may be there, "a|b" in brackets two ways.
"""

from __future__ import annotations

import re

__all__ = ["one_of", "patterns"]


def one_of(*lists: str) -> str:
    """A pattern of one of the words or phrases, with the space behind it."""
    ways = [" ".join(way.split()) for words in lists for way in re.sub(r"([|(])\n\s*", r"\1", words).split(",")]
    ways = [way.replace("(s)", "s?") for way in ways]
    return f"(?:(?:{'|'.join(re.sub(r'[(](?![?])', '(?:', way) for way in ways if way)}) )"


def patterns(text: str) -> list[str]:
    """The patterns in a text: each begins with four spaces, deeper lines go on with it, and # begins a comment."""
    lines = re.sub(r"\n {8,}", "", text).split("\n")
    return [line[4:] for line in lines if line.strip() and not line.strip().startswith("#")]


# What may stand beside a decision and changes nothing.
FILLERS = """
    a, an, the, and, so, then, thus, hence, ergo, therefore, consequently, accordingly, but, still, yet, now, well,
    ok, okay, yes, yeah, yep, hmm, hm, um, haha, lol, ngl, tbh, imo, imho, honestly, frankly, personally, obviously,
    clearly, definitely, certainly, surely, undoubtedly, probably, arguably, decidedly, easily, simply, just, really,
    truly, quite, rather, very, much, far, way, by far, a bit, a little, a tad, a touch, a hair, a lot, slightly,
    somewhat, marginally, narrowly, significantly, substantially, considerably, overall, ultimately, finally, lastly,
    altogether, also, again, even, indeed, actually, in fact, nevertheless, nonetheless, however, on balance, on the
    whole, on reflection, on second thought(s), in conclusion, in summary, in short, in brief, in sum, in the end, in
    total, in all, in my (humble |honest )?(opinion|view|judge?ment|book|assessment|estimation), in this case, in this
    instance, in that case, all in all, all things considered, all told, everything considered, taken together, at the
    end of the day, as a result, to conclude, to sum up, to me, for me, for my money, if anything, gun to my head,
    hands down, without (a |any )?(doubt|question|hesitation), no (question|doubt|contest), beyond doubt, for sure,
    any day( of the week)?, every time, all the way, bottom line, conclusion, summary, tl;dr, tldr, verdict, here,
    this time, between the two, of the two, out of the two, more, most, only, then it is, it is, step \\S+, final,
    subjectively( speaking)?, reluctantly, grudgingly, begrudgingly, barely, only just, by default, by elimination,
    for these reasons,
    for (this|that) reason, that said, having said that, with that said,
    given (this|that|all (this|that|of this)), based on (this|that|the above|these), as such, i think, i believe, i
    feel, i guess, i suppose, i reckon, i'd say, i would say, i find, i conclude, i mean, i say, meaning, remains,
    gotta say, have to say, must say, great question, sure, in comparison, as it stands, by a
    (mile|hair|whisker|nose|wide margin|long way|long shot|comfortable margin|small margin|narrow margin|landslide)
"""

# Verbs of a judge that decides for what follows.
CHOOSES = """
    prefer, preferring, choise, choose, choosing, chose, pick, picking, picked, select, selecting, selected, favou?r,
    favou?ring, go with, go for, going with, going for, gone with, going to go with, went with, went for, opt for,
    opting for, vote for, vote, voting for, lean(ing)?( towards?| to)?, side with, siding with, recommend,
    recommending, take, taking, settle on, settle for, settling on, stick with, sticking with, stick to, stay with,
    staying with, endorse, back, backing, crown, nominate, plump for, root for, rooting for, bet on, betting on, put
    my money on, land on, landing on, come down on the side of, come down in favou?r of, come down for, rule for, rule
    in favou?r of, decide for, decide on, decide in favou?r of, deciding for, rather
    (have|read|receive|get|use|send|see|trust|take|be given|keep|own|work with|go with|be handed|pick), happier
    (with|receiving|getting|reading|to (get|receive|have|read)), better off with, trust,
    (hand|give|giving|award|grant|hand|handing|awarding) (it|this|this one|that one|my vote|the|a|full)
    ?((slight|small|narrow|clear|marginal|overall) )?(to|nod to|edge to|win to|prize to|trophy to|crown to|point
    to|points to|victory to|preference to|advantage to|upper hand to|round to|title to|medal to|gold to|marks to|nod
    here to|edge here to|vote to), award victory to, give preference to, call (it|this|this one) for, choose to go
    with, answer, reply, reply with, answer with, end up with, ending up with, switch(ing)? to, chang(e|ing)
    (it|this|that|my (answer|verdict|mind|vote|decision|choice|pick)) to, move to, revise (it|this|my \\w+) to,
    submit
"""

# What a response does that wins.
WINS = """
    ranks (first|1st|higher|top|highest), wins, won, deserves to win, deserves the win, prevails, triumphs, succeeds,
    takes (it|this|this one|home|the|first), taking (it|home), (gets|gains|earns|earned|has
    earned|receives|deserves|has|holds|wins|merits|takes|have|get) (my|the|an|a|this)
    ?((slight|small|narrow|clear|marginal|definite|overall|distinct|decisive|top|higher) )?(rating|score|better
    score|better rating|edge|nod|vote|win|prize|cake|crown|trophy|upper
    hand|advantage|point|title|medal|gold|preference|lead|day|round|spot|marks?|recommendation|win
    here|victory|approval|blessing), comes? (out )?(ahead|on top|first|out on top|off better|out the winner), came
    (out )?(ahead|on top|first), carries the day, edges (it|ahead|this one), nudges ahead, pulls ahead, inches ahead,
    takes the cake, sweeps, has it, is where i land, does (the job|it) better, does the better job, did (the job|it)
    better, best serves, better serves,
    serves (the |this |that )?(user|asker|reader|task|prompt|request|purpose|question|needs?)( needs)?
    (much |far )?better, tips the (scales?|balance), (served|helped|answered)
    (the |this |that )?(user|asker|reader|task|prompt|request|purpose|question|needs?) (much |far )?better, done
    (the job |it )?better, done the better job
"""

# "Response 1 ... Response 2".
BEATS = """
    beats?, outdoes, outperforms?, outclasses, outshines, outranks, outstrips, outweighs, surpasses, bests, tops,
    trumps, eclipses, exceeds, edges (out|past), wins (over|against|out over), has the (edge|advantage|upper hand)
    (over|on), has an edge over, wipes the floor with, (runs|does) (rings|circles) around, is
    (miles|leagues|streets|well|way|far) ahead of, is ahead of, is (head and shoulders|a cut|a notch|a class|a
    step|heads and shoulders) above, smokes, crushes, demolishes, thrashes, trounces, mops the floor with,
    walks all over, is a step up from, is an improvement (on|over), improves (on|upon), (is|should
    be) preferred (to|over), (is|would be) preferable to, is to be preferred (to|over), wins out over, comes out ahead
    of, is superior to, comes before, puts to shame, takes it over, takes the win over, ranks (above|higher than|ahead
    of), scores higher than, is stronger than
"""

# "Response 2 ... Response 1", for the other one.
LOSES_TO = """
    loses (out )?(to|against), lost (out )?(to|against), (is|was|gets|got)
    (clearly |easily |narrowly |simply |soundly |just |far |comfortably )?(outdone|outperformed|beaten|outclassed|
    surpassed|bested|trumped|topped|outshone|outshined|edged
    out|eclipsed|outmatched|overshadowed|defeated|exceeded|outranked) by, (falls|fell|comes|came)
    (well |far |clearly |a bit |a little |just )?(short|up short) of, (is|'s) (no|not a) match for, (is|'s) inferior
    to, (can't|cannot|can not|doesn't|does not|didn't|couldn't|could not|won't)
    (really |quite |even |possibly )*(compete with|match|match up to|measure up to|hold a candle to|stack up to|stack
    up against|live up to|come close to|keep up with|compare to|compare with|beat|rival|reach|touch), pales (in
    comparison (to|with)|next to|beside|against|before), lags (far |well )?behind, trails, trails behind, is (a
    (step|notch) (down from|below|behind)|behind|below), ranks (below|behind|lower than), is (outdone|beaten) by, is
    not as good as, isn't as good as, is not better than but worse than, is weaker than, is worse than, is poorer
    than, scores lower than, comes second to, plays second fiddle to, yields to, bows to, (takes|has to take) a back
    seat to, is no better than second to, finishes behind
"""

# What a response is that is better, or is worse.
BETTER = """
    better, beter, bettr, bether, best, ((shorter|safer|clearer|fuller|stronger|more \\w+) and )better,
    (a |the )nicer (job|answer|response), superior, preferable, preferred, stronger, strongest, winner, winning,
    victorious, favou?red, favou?rite, ((leagues|miles|streets|light
    years|way|well|far|clearly|slightly|just) )?ahead, on top, (my|our)
    (choice|choise|pick|preference|vote|winner|favou?rite|recommendation|selection|answer|verdict|decision|number
    one|top pick|final (answer|choice|pick|verdict)|clear (choice|pick|favou?rite|winner)),
    (right|correct|proper|clear|obvious|natural|only|wiser|smarter|safer|sensible) (choice|choise|pick|selection), to
    be preferred, to be favou?red, the one (that |which )?(i|i'd|i'll|we|we'd)
    (would |'d |'ll |will )?(prefer|choose|pick|select|take|recommend|go with|go for|vote
    for|favou?r|keep|use|send|show|want|trust|rather have|pass on|hand (in|to)|give to), the one to (choose|pick|go
    with|prefer|take|keep|beat), the one (that |which )?(best|better), the one (that |which )?(wins|comes out
    ahead|gets my vote|deserves to win|deserves the win), more good, more better, number one, the way to go
"""
WORSE = """
    worse, worst, weaker, weakest, inferior, poorer, poorest, losing, loser, lesser, less
    (good|helpful|useful|suitable|appropriate|convincing|satisfactory|satisfying|preferable|preferred), the one to
    (reject|drop|discard), outclassed, outmatched, outdone, not as good
"""
# A comparison of merit as a whole, or nearly.
MERITS = """
    helpful, helpfull, useful, usefull, suitable, appropriate, trustworthy, convincing, satisfactory, satisfying,
    valuable, fitting, apt, reliable, sensible
"""
VIRTUES = """
    in line, accurate, informative, complete, complet, comprehensive, thorough, correct, faithful, relevant, precise,
    balanced, honest, coherent, compelling, practical, effective, actionable, factual, responsive, credible, sound,
    solid, logical, insightful, truthful, harmless, safe, robust, rigorous, professional, competent, clear, on point,
    nuanced
"""

# What a verdict is called.
VERDICTS = """
    verdict, decision, judge?ment, conclusion, choice, choise, pick, preference, winner, answer, ans, anser, awnser,
    anwser, winer, prefered, desicion, verdit, selection, vote, recommendation, result, outcome, final, overall,
    ruling, edge, nod, advantage, top pick, favou?rite, number, output, response, 1st, 1st place, first place,
    preferred, chosen, selected, win, point, call, finding, better, best, superior, lesser evil, lesser of two evils,
    less bad, less flawed, least bad, ranking first, top ranked, majority, majority of criteria, higher rated, highest
    rated, higher scoring, right, majority vote, most votes, trophy
"""
# What may stand before and behind its name, and between it and the response.
OF_VERDICTS = """
    the, my, our, a, an, this, final, overall, own, ultimate, corrected, revised, updated, new, clear, obvious,
    official, short, personal, considered, honest, firm, better, best, superior, preferred, preferable, stronger,
    strongest, winning, higher rated, higher scoring, marginal, slight, small, narrow, strong, mild, weak, clear,
    definite, same, first, right, correct, proper, good, here is my, here's my, the other one, the other, other, one,
    response(s)?, answer(s)?, option(s)?, output(s)?, assistant(s)?, model(s)?, candidate(s)?, reply, text, summary,
    solution, version, translation, code, choice, pick, is, was, are, would be, will be, has to be, must be, should
    be, remains, stays, goes, goes to, go to, belongs to, falls on, leans towards?, to, for, on, in favou?r of, clear,
    =, as follows, of the two, between the two, here, then, therefore, thus, hence, so, still, now, clearly,
    definitely, without (a )?doubt, all things considered, all in all, on balance, overall, in the end, in my
    (opinion|view), for me, to me, by (far|a mile|a hair|a nose|a whisker), number, option, letter, at, with, that of,
    from, i'd say, i think, i believe, simply, easily, probably, if i had to (choose|pick), if forced to choose, if i
    have to (choose|pick), in total, total, it is, it's, that's
"""

# What leads to a decision for the response behind it.
LEADS_TO = """
    this one goes to, this goes to, it goes to, this round goes to, my money is on, my money's on, my vote's for, i'm
    team, i am team, team, that leaves, this leaves, which leaves, leaving, leaves (us|me)( with)?, leaves only, left
    with, calls for, call for, speaks? for, speaks? in favou?r of, tips? (the )?(balance|scales?|it|things)
    (towards?|to|for|in favou?r of|in the direction of), tips? it (for|to), swings? (it|me|this|the balance)
    (to|towards?|for|in favou?r of), settles? (it|this|the matter) (for|in favou?r of), decides? (it|this|the
    matter|the case|things) (for|in favou?r of), decides? for, points? (me )?(to|towards?), is why i
    (choose|pick|prefer|chose|picked|go with|went with|favou?r), in favou?r of, with a
    (slight |marginal |clear |strong )?(preference|edge|nod) (for|to), preference for,
    (edge|nod|win|victory|advantage|prize|point|vote|trophy|crown) (goes|belongs|must go|should go|has to go) to,
    weighs? in favou?r of, makes me (choose|pick|prefer|favou?r|go with), reason(s)? to (prefer|pick|choose), lean(s)?
    (towards?|to)
"""

TIES = """
    hono[u]?rs even, a tie, a draw, tie, draw, tied, tie(s)? (with|between), a toss-up, a toss up, a coin flip, a coin
    toss, a coin-flip, a dead heat, a wash, a stalemate, an even match, even stevens, too close to call, neck and
    neck, on (a )?par, evenly matched, equally matched, interchangeable, indistinguishable, (word for
    word |practically |virtually |essentially |effectively )?identical( word for word)?, equivalent, cancel (each
    other )?out, balance (each other )?out, balance out, call it (even|a tie|a draw|quits),
    (rate|rank|score|judge|see|put|regard|consider|mark|call|treat) (them|both|the two|these|the two responses|both
    responses|both answers|the two answers)( both)?( as)?( being)? (equal(ly)?|even|the same|level|alike|tied|on
    par|equals), no
    (real |meaningful |clear |significant |noticeable |material |discernible |substantive |relevant |overall |
    worthwhile |appreciable )?(difference( in
    (overall )?quality)? (between|whatsoever|in quality|worth)|winner|preference( either way)?|favou?rite|better
    one|reason to prefer (either|one|the one)|way to (separate|tell) (them|the two)), nothing (in it|between them|to
    choose between( them| the two)?|separates them|to separate|to tell them apart|sets them apart), (can't|cannot|can
    not|couldn't|could not|hard to|impossible to|unable to|difficult to)
    (pick|choose|name|declare|separate|split|tell|prefer|see) (a winner|between them|between the two|them( apart)?|the
    two( apart)?|either( one)?( over the other)?|one over the other|any difference), neither
    (one |response |answer |output |assistant |of them |of the two |is |has |[^
    §¤¢]+ )?(is )?(clearly |really |any |noticeably )*(better|stands out|wins|comes out
    ahead|outdoes|outperforms|beats|has the edge|has an edge|superior|preferable|ahead), as good as (each other|one
    another|the other), equally
    (good|bad|strong|weak|valid|helpful|correct|wrong|complete|useful|useless|well|poor|accurate|acceptable|fine|
    deserving|capable|satisfying|satisfactory),
    just as (good|helpful|strong) as the other, (of )?(equal|the same|identical|comparable|similar) quality, equal in
    quality, split the (point|difference|vote), share the (point|win|spoils|prize), both (deserve|earn) the same
"""

# What makes a statement somebody else's, or one that is not held.
CONDITIONS = """
    if, unless, whether, about to, was going to, almost, nearly, came close to, going to say, see why, see how,
    understand why,
    would mean, means that, mean that, stand(s) for, had, were it, suppose, supposing, imagine, assuming, assume,
    provided, in case, depending, depends, might, could, may, would have, i'd have, we'd have, wanted to, would've,
    could've, should have, would be,
    maybe, perhaps, possibly, pretend, until, tempted, inclined to think, at first, at first glance, at first sight,
    initially, originally, first (impression|instinct|thought), on paper, on the face of it, hypothetically,
    theoretically, in theory, once, when, whenever, where, as long as, used to, earlier, previously, previous, before
    i, draft, sarcastically, oh sure, as if, wonder, wondering, unsure, not sure, were, either, or, than nothing,
    supposedly, allegedly, apparently
"""
OTHERS = """
    some, many, most, others, people, reader(s)?, user(s)?'?( s)?, everyone, everybody, anyone, someone, somebody,
    nobody, no one, one (might|could|may|would|can), they, they'd, he, she, you, your, yourself, reviewer(s)?,
    judge(s)?, evaluator(s)?, grader(s)?, rater(s)?, annotator(s)?, colleague(s)?, critic(s)?, expert(s)?, crowd,
    human(s)?, beginner(s)?, audience, gpt-?\\w*, heuristic(s)?, metric(s)?, bleu, rouge, baseline, reference,
    label(s)?, author(s)?, authors', teacher, customer(s)?, client(s)?, voters, public, itself, its own, self-\\w+,
    his, her, their, dear, note to, system, template, format, example(s)?, instructions?, instructed, told, supposed
    to, asked to, required
"""
