"""Plain decisions in ten other languages: "Antwort 2 ist besser", "Je préfère la réponse 1", "回答2の方が優れています".

Asked only where nothing in English decides, and for labels that count. A row of the table is one language: what a
response is called, what it is that is better or worse, the verbs of a choice, what a verdict is called or led to by,
ties, and the words that deny, doubt or tell, with which a sentence says nothing.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from rlaif.judging.clauses import Names
from rlaif.judging.own_words import HIDDEN

__all__ = ["decided_elsewhere"]


class _Language(NamedTuple):
    noun: str
    first: str
    second: str
    better: str
    worse: str
    prefer: str
    verdict: str
    tie: str
    guard: str
    but: str


_LANGUAGES = [
    _Language(  # German
        "antwort|option|variante|assistent|modell|ausgabe|text|version",
        "erste[nrs]?|erstere[nrs]?",
        "zweite[nrs]?|letztere[nrs]?",
        "bessere?[nrs]?|beste[nrs]?|am besten|überlegen|vorzuziehen|hilfreicher|gewinnt|siegt|überzeugender|überzeugt "
        "mehr|"
        "gewinner(?:in)?|sieger(?:in)?|liegt vorn|hat die nase vorn|übertrifft|schlägt",
        "schlechtere?[nrs]?|schlechteste|unterlegen|schwächere?[nrs]?|verliert",
        "bevorzuge|wähle|ziehe|nehme|entscheide mich für|würde mich für|empfehle|favorisiere|tendiere zu|stimme für|"
        "geht an",
        "(?:end)?urteil|entscheidung|fazit|ergebnis|wahl|gewinner|sieger|daher|deshalb|also|somit|folglich|antwort|"
        "endgültige antwort|besser|bessere antwort|meine wahl|bewertung|insgesamt",
        "unentschieden|gleichstand|gleich gut|gleichwertig|ebenbürtig|gleichauf",
        "nicht|kein\\w*|weder|noch nie|nie|niemals|ob|wenn|falls|wäre|hätte|könnte|würde man|behauptet|sagt|schreibt|"
        "steht|"
        "angeblich|manche|einige|viele|laut|kaum",
        "aber|jedoch|doch|dennoch|trotzdem|allerdings",
    ),
    _Language(  # French
        "réponse|reponse|option|version|assistant|modèle|texte|proposition",
        "première|premier|1re|1ère",
        "seconde|second|deuxième|2e|2ème",
        "meilleure?|mieux|supérieure|préférable|l'emporte|gagne|remporte|gagnante?|vainqueur|surpasse|plus utile|"
        "plus convaincante",
        "pire|moins bonne|inférieure|perd",
        "préfère|préférerais|choisis|choisirais|retiens|opte pour|vote pour|recommande|penche pour|sélectionne|"
        "revient à",
        "verdict|décision|conclusion|choix|gagnante?|vainqueur|donc|réponse|réponse finale|meilleure réponse|mon choix|"
        "jugement|résultat|au final|par conséquent",
        "égalité|ex æquo|ex aequo|match nul|aussi bonnes?|équivalentes?|se valent",
        "ne|n'est|n'a|pas|ni|aucune?|jamais|si|serait|aurait|pourrait|prétend|affirme|dit|écrit|certains|"
        "beaucoup|selon|"
        "d'après|peut-être|à peine",
        "mais|cependant|toutefois|néanmoins|pourtant",
    ),
    _Language(  # Spanish
        "respuesta|opción|opcion|versión|asistente|modelo|texto",
        "primera?|1ª",
        "segunda?|2ª",
        "mejor|superior|preferible|gana|vence|ganadora?|supera|más útil|más convincente",
        "peor|inferior|pierde",
        "prefiero|preferiría|elijo|elegiría|escojo|selecciono|opto por|voto por|recomiendo|me quedo con|me inclino por|"
        "me decanto por",
        "veredicto|decisión|conclusión|elección|ganadora?|por (?:lo )?tanto|por eso|respuesta|respuesta final|mejor "
        "respuesta|mi elección|resultado|en conclusión|así que",
        "empate|empatadas?|igual de buenas?|igualmente buenas?|equivalentes",
        "no|ni|ninguna?|nunca|si|sería|habría|podría|afirma|dice|escribe|algunos|muchos|según|quizás?|apenas|tal vez",
        "pero|sin embargo|no obstante|aunque",
    ),
    _Language(  # Italian
        "risposta|opzione|versione|assistente|modello|testo",
        "prima|primo",
        "seconda|secondo",
        "migliore?|meglio|superiore|preferibile|vince|vincitrice|vincitore|supera|più utile|più convincente|batte",
        "peggiore?|peggio|inferiore|perde",
        "preferisco|preferirei|scelgo|sceglierei|opto per|voto per|voto|consiglio|seleziono|propendo per",
        "verdetto|decisione|conclusione|scelta|vincitrice|vincitore|quindi|perciò|pertanto|dunque|risposta|risposta "
        "finale|"
        "risposta migliore|la mia scelta|giudizio|risultato",
        "pareggio|parità|ugualmente buone|altrettanto buone|equivalenti|si equivalgono",
        "non|né|nessuna?|mai|se|sarebbe|avrebbe|potrebbe|afferma|dice|scrive|alcuni|molti|secondo lui|forse|appena",
        "ma|però|tuttavia|eppure",
    ),
    _Language(  # Portuguese
        "resposta|opção|versão|assistente|modelo|texto",
        "primeira?|1ª",
        "segunda?|2ª",
        "melhor|superior|preferível|ganha|vence|vencedora?|supera|mais útil|mais convincente",
        "pior|inferior|perde",
        "prefiro|preferiria|escolho|escolheria|seleciono|opto pela|opto por|voto na|voto em|voto pela|recomendo|fico "
        "com",
        "veredito|veredicto|decisão|conclusão|escolha|vencedora?|portanto|por isso|logo|resposta|resposta final|melhor "
        "resposta|minha escolha|resultado|julgamento",
        "empate|empatadas?|igualmente boas?|tão boa quanto|equivalentes",
        "não|nem|nenhuma?|nunca|se|seria|teria|poderia|afirma|diz|escreve|alguns|muitos|segundo|talvez|mal",
        "mas|porém|contudo|no entanto|entretanto|todavia",
    ),
    _Language(  # Dutch
        "antwoord|optie|versie|assistent|model|reactie|tekst",
        "eerste",
        "tweede",
        "betere?|beste|superieur|wint|winnaar|winnend|te verkiezen|overtreft|verslaat|behulpzamer|overtuigender",
        "slechtere?|slechtste|zwakkere?|verliest|minder goed",
        "verkies|prefereer|kies(?: voor)?|selecteer|geef de voorkeur aan|stem op|stem voor|ga voor",
        "oordeel|eindoordeel|beslissing|conclusie|keuze|winnaar|dus|daarom|antwoord|uitslag|beter|beste antwoord|mijn "
        "keuze",
        "gelijkspel|gelijk|even goed|gelijkwaardig",
        "niet|geen|noch|nooit|of|als|zou|zouden|beweert|zegt|schrijft|sommigen|velen|volgens|misschien|nauwelijks",
        "maar|echter|toch|niettemin",
    ),
    _Language(  # Russian
        "ответ[ауе]?|вариант[ауе]?|ассистент[ауе]?|модель|верси[яюи]",
        "перв(?:ый|ая|ого|ому|ую)",
        "втор(?:ой|ая|ого|ому|ую)",
        "лучше|лучш(?:ий|ая|им|ей)|превосходит|побеждает|выигрывает|победитель|предпочтительнее|полезнее|убедительнее",
        "хуже|худш(?:ий|ая)|слабее|уступает|проигрывает",
        "предпочитаю|выбираю|выбрал|выбрала|голосую за|отдаю предпочтение|склоняюсь к|рекомендую",
        "вердикт|решение|вывод|выбор|итог|победитель|поэтому|итак|следовательно|ответ|лучший ответ|мой выбор|таким "
        "образом|"
        "окончательный ответ|результат",
        "ничья|одинаково хороши|равны|равноценны",
        "не|ни|нет|никогда|если|бы|ли|утверждает|говорит|пишет|некоторые|многие|якобы|возможно|едва|согласно",
        "но|однако|зато|тем не менее",
    ),
    _Language(  # Chinese
        "回答|答案|回复|回覆|答复|响应|選項|选项|助手",
        "第一[个個条條]|前者",
        "第二[个個条條]|后者|後者",
        "更好|更佳|更优|更優|最好|最佳|较好|較好|较优|更胜一筹|更勝一籌|胜出|勝出|获胜|獲勝|更有帮助|"
        "更有幫助|更有用|更准确|优于|優於|好于|胜过|"
        "更合适|更符合",
        "更差|较差|較差|更糟|不如|逊于",
        "选择|選擇|我选|我選|偏好|更喜欢|更喜歡|倾向于|傾向於|投票给|推荐",
        "结论|結論|判断|判斷|裁决|裁決|选择|選擇|最终答案|最終答案|答案|胜者|勝者|获胜者|因此|所以|综上|"
        "综上所述|更好的回答|最终判断|最终选择|结果",
        "平局|平手|一样好|一樣好|同样好|同樣好|不相上下",
        "不是|并非|並非|不比|没有|如果|假如|是否|声称|聲稱|有人|据说|據說|并不|不会|可能|说自己|写道",
        "但是|但|然而|不过|不過",
    ),
    _Language(  # Japanese
        "回答|応答|返答|アシスタント|選択肢",
        "最初の|一つ目の|1つ目の|第一の|前者",
        "二番目の|二つ目の|2つ目の|第二の|後者",
        "優れて|より良い|より良く|より良かっ|良いです|良いと|優秀|勝って|勝ちです|勝者|望ましい|適切です|"
        "好ましい|を選び|を選択|を支持|を推奨|に軍配|の勝ち|"
        "ベスト|優位|役に立",
        "劣って|劣る|より悪い|劣りま",
        "選ぶのは|好むのは",
        "結論|判定|最終判断|最終回答|答え|勝者|選択|したがって|よって|ゆえに|以上より|より良い回答|良い回答|"
        "優れた回答|優れている回答|結果",
        "引き分け|同等|甲乙つけがたい|同点",
        "ない|ません|なかった|もし|なら|かどうか|という主張|主張し|と書いて|言って|とされ|かもしれ|か？|でしょうか",
        "しかし|だが|ですが|けれど|一方",
    ),
    _Language(  # Korean
        "응답|답변|대답|어시스턴트|선택지",
        "첫\\s?번째",
        "두\\s?번째",
        "더 (?:좋|낫|나은|나아|우수|뛰어|훌륭|적절|유용|도움|정확)\\w*|우수\\w*|뛰어나\\w*|낫습니다|승리\\w*|"
        "이깁니다|승자\\w*|선택합니다|선호합니다|"
        "선택하겠\\w*|최선\\w*|고르겠\\w*",
        "더 (?:나쁘|못하|부족)\\w*|못합니다|열등\\w*|떨어집니다",
        "제 선택은|나의 선택은|선호하는 것은",
        "결론|판정|최종 판단|최종 답변|최종 선택|정답|답|승자|선택|따라서|그러므로|그래서|결과|더 나은 답변|"
        "더 나은 응답|더 좋은 답변|더 좋은 "
        "응답",
        "무승부|동점|동등\\w*|비슷하게 좋",
        "않\\w*|아니\\w*|못\\b|만약|라면|주장\\w*|라고 말|라고 합니다|라고 적|일부|지도 모|수도 있|여부",
        "하지만|그러나|그렇지만|반면",
    ),
]
_DENSE = {7, 8, 9}  # without a space between words
_ENDS = (
    r"(?=[\s*_]*(?:$|[,;:.(–—-]|(?:als|weil|da|denn|und|que|car|parce|porque|ya|pues|y|et|e|perch[eé]|"
    r"poich[eé]|che|di|d'|"
    r"della|dell|do que|pois|já|omdat|dan|want|en|потому|чем|так|поскольку|и|insgesamt|nel complesso|en général|en "
    r"général|"
    r"geeignet|für mich|antwort|réponse|respuesta|risposta|resposta|antwoord|ответ|à la|a la|alla|à|§)\b))"
)
_IS = "(?:ist|est|es|è|é|is|это|—|-|是|为|為|は|은|는|:|：|,)"
_ARTICLE = r"(?:(?:la|le|a|el|die|de|nr\.?|numéro|número|numero|nummer|n°) ?)"
_THAN = r"\b(?:als|que|dan|che|di|della|del|чем|than|do que)\b|比|より"


@lru_cache(maxsize=16)
def _patterns(index: int, labels: tuple[str, str]) -> dict[str, re.Pattern[str]]:
    language, dense = _LANGUAGES[index], index in _DENSE
    open_, close = ("", r"(?![0-9A-Za-z])") if dense else (r"(?<!\w)", r"(?!\w)")
    far = r"[^§,，、;；:：]{0,30}?"
    number = r"[\s*_(\[\"'«“]{0,4}(?:nr\.?|n°|núm\.?|número|numéro|numero|nummer|№|no\.)?\s?(?P<n>[12AB])"

    def words(ways: str) -> str:
        return f"{open_}(?:{ways})" + ("" if dense else close)

    name = rf"{open_}(?:{language.noun}|response|assistant|answer){number}(?![0-9A-Za-z])[)\]*_\"'»”]{{0,3}}"
    if index == 9:
        name += rf"|(?<![\w.])(?P<m>[12])번(?:\s?(?:{language.noun}))?"
    either = rf"{open_}(?:(?P<one>{language.first})|(?P<two>{language.second}))\s?(?:{language.noun}){close}"
    after = "" if dense else _ENDS
    one_label = "|".join(labels)
    return {
        "name": re.compile(f"{name}|{either}", re.IGNORECASE),
        "guard": re.compile(words(language.guard), re.IGNORECASE),
        "but": re.compile(words(language.but), re.IGNORECASE),
        "better": re.compile(rf"§(?P<n>[01]){far}{words(language.better)}{after}", re.IGNORECASE),
        "worse": re.compile(rf"§(?P<n>[01]){far}{words(language.worse)}{after}", re.IGNORECASE),
        "is": re.compile(rf"{words(language.better)}(?P<far>[^§,，;；]{{0,30}}?)§(?P<n>[01])", re.IGNORECASE),
        "prefer": re.compile(rf"{words(language.prefer)}(?P<far>[^§,，;；:]{{0,30}}?)§(?P<n>[01])", re.IGNORECASE),
        "verdict": re.compile(
            rf"{words(language.verdict)}[\s*_]{{0,3}}(?:finale?|definitiv[ao])?\s?{_IS}?[\s*_:：(\[«\"]{{0,4}}"
            rf"(?:§(?P<n>[01])|{_ARTICLE}?(?P<label>{one_label}))(?:です|입니다)?[\s*_)\]»\".。!]*$",
            re.IGNORECASE,
        ),
        "tie": re.compile(words(language.tie), re.IGNORECASE),
    }


def decided_elsewhere(text: str, names: Names) -> tuple[int, int] | None:
    """What the judge's own words decide in another language, and the place; None where two sentences disagree."""
    if names.first is None or len(text) > 6_000 or (text.replace(HIDDEN, "").isascii() and not _LIKELY.search(text)):
        return None
    if len(_ENGLISH.findall(text)) > 1:
        return None
    labels = ("1", "2") if not names.letters else ("A", "B")
    for index in range(len(_LANGUAGES)):
        patterns = _patterns(index, labels)
        if not (patterns["name"].search(text) or patterns["verdict"].search(text) or patterns["tie"].search(text)):
            continue
        found = _in_language(text, patterns, names.first)
        if found is not None:
            return found
    return None


# What a response is compared with: "比回答1", "回答1より".
_BESIDE = re.compile(
    r"比起?\s*§[01] |§[01] \s?(?:と比べて|に比べて|よりも?|보다)|(?:im vergleich (?:zu|mit)|"
    r"verglichen mit|gegenüber|par rapport à|"
    r"comparée? à|en comparación con|comparad[ao] con|rispetto a(?:lla)?|in confronto a(?:lla)?|em comparação com|"
    r"comparad[ao] com|vergeleken met|in vergelijking met|по сравнению с|в сравнении с)(?: (?:der|la|a|het|de))? "
    r"?§[01] ",
    re.IGNORECASE,
)
_ENGLISH = re.compile(r"\b(?:the|that|this|and|of|which|it|is|to|with|better|wins|says|answer is)\b", re.IGNORECASE)
_LIKELY = re.compile(
    r"\b(?:beide|gleich|sono|son|zijn|sind|antwort|ist|respuesta|risposta|resposta|antwoord|es|la|el|il|"
    r"een|het|daher|urteil|verdetto|veredicto|winnaar|"
    r"unentschieden|empate|pareggio)\b",
    re.IGNORECASE,
)


def _in_language(text: str, patterns: dict[str, re.Pattern[str]], first: int) -> tuple[int, int] | None:
    said: list[tuple[int, int]] = []
    before = ""
    for match in re.finditer(r"(?:[^.!?。！？\n]|(?<=[Nn]r)\.|(?<=[Nn]o)\.)+[.!?。！？]*", text):
        sentence = match[0]
        if "?" in sentence[-2:] or "？" in sentence[-2:] or HIDDEN in sentence or len(sentence) > 600:
            continue
        marked = patterns["name"].sub(lambda name: f"§{_index(name, first)} ", sentence)
        told = before.endswith((":", "：")) and (patterns["name"].search(before) or patterns["guard"].search(before))
        before = sentence.rstrip(" *_\n") or before
        if told:
            continue
        verdict = None if patterns["guard"].search(marked) else patterns["verdict"].search(marked.strip())
        if verdict:
            rank = verdict["n"] if verdict["n"] else str(("1A", "2B").index(_of_label(verdict["label"])) ^ first)
            said = [(int(rank), match.start())]
            continue
        for part in reversed(patterns["but"].split(marked)):
            decision = _part(part, patterns)
            if decision is not None:
                said.append((decision, match.start()))
                break
    return said[-1] if len({decision for decision, _ in said}) == 1 else None


def _of_label(label: str) -> str:
    return "1A" if label.upper() in "1A" else "2B"


def _index(name: re.Match[str], first: int) -> int:
    groups = name.groupdict()
    said = groups["n"] or groups.get("m")
    second = said.upper() in "2B" if said else groups["two"] is not None
    return int(second) ^ first


def _part(part: str, patterns: dict[str, re.Pattern[str]]) -> int | None:
    """What a part of a sentence decides: 0, 1, -1 for a tie, None for nothing."""
    if patterns["guard"].search(part):
        return None
    part = _BESIDE.sub("", part)
    found = {
        int(match["n"])
        for match in patterns["better"].finditer(part)
        if not re.search(rf"§{1 - int(match['n'])}[^,，、;；]*$", part[: match.start()])
    }
    for kind in ("is", "prefer"):
        found |= {int(match["n"]) for match in patterns[kind].finditer(part) if not re.search(_THAN, match["far"])}
    found |= {1 - int(match["n"]) for match in patterns["worse"].finditer(part)}
    if len(found) == 1:
        return found.pop()
    return -1 if not found and patterns["tie"].search(part) else None
