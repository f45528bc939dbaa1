"""What servers say of questions and of accounts, each in words of its own: patterns, in lower case."""

from __future__ import annotations

__all__ = ["BAD_KEY", "CLOSED", "EMPTY", "NO_CREDIT", "NO_MODEL", "OF_THE_QUESTION", "STOPPED", "TOO_LONG"]

# A question longer than the model takes.
TOO_LONG = (
    r"context[ _-]?(?:length|window|size)s? |context[ _-]?(?:length|window|size)\b(?!`)|contextwindowexceeded"
    r"|(?:prompt|input|request|message|conversation|content)s?(?: text| is| are| was| were)* too (?:long|large)"
    r"|(?:prompt|input|messages|request)\b[^.]{0,25}\b[\d,]+ (?:input |prompt )?tokens"
    r"|too many (?:input |prompt )?tokens|string too long|entity too large|payload too large"
    r"|(?:prompt|input)s?[ _](?:token )?length|(?:number of|your) input tokens|input tokens? (?:count|exceed)"
    r"|max_tokens must be at least 1, got -|(?:prompt|input)\w*[^.;]{0,30}(?:\+|plus|and) [`'\"]?max_\w*tokens"
    r"|token count .{0,60}exceed|token limit|tokens allowed|reduce the length|shorten|fewer inputs"
    r"|output limit was reached|(?:prompt|input)s?(?: tokens?| text| length)? exceeds?"
    r"|`?inputs`? tokens \+ `?max_new_tokens|(?:longer|larger) than the (?:model|maximum|context)"
)
# A question that a filter or a policy stops.
STOPPED = (
    r"content[ _-]?(?:management )?polic|content[ _-]?filter|contentpolicyviolation"
    r"|safety (?:system|filter|guideline|polic)|flagged|moderation|usage (?:polic|guideline)|guard-?rail"
    r"|(?:inappropriate|sensitive|unsafe|prohibited|harmful|disallowed) content"
    r"|unsafe (?:request|prompt|input)|considered high risk|violat\w* .{0,60}polic|responsible ai|敏感|不安全"
)
# Words that tell what stands in a question: whatever follows is no account's and no address's.
OF_THE_QUESTION = (
    r"\b(?:prompt|input|message|content|text|query|question|conversation)s?\b[^.;]{0,20}"
    r"\b(?:is|are|was|were|talks?|asks?)? ?(?:about|contain\w*|mention\w*|includ\w*|refer\w*|blocked|rejected)\b"
)
NO_CREDIT = (
    r"credit balance|(?:used|exhausted) all (?:available|your)? ?(?:\w+ )?credits|spending (?:limit|cap)"
    r"|insufficient[ _](?:account )?(?:balance|credit|fund|quota)"
    r"|(?:out of|no|any|enough|more|included) credits|credit limit exceeded"
    r"|payment required|budget has been exceeded|good standing|余额不足|欠费|past due|overdue|recharge"
    r"|(?:account|organi[sz]ation)\b.{0,60}(?:suspend|deactivat|disabled|flagged|banned|terminated|restricted)"
)
# What begins so speaks to the account's holder, and may name a policy as the reason.
CLOSED = (
    r"^(?:your|this) (?:\w+ )?(?:account|organi[sz]ation) (?:has been|was|is) (?:\w+ )?"
    r"(?:suspended|deactivated|disabled|banned|terminated|closed)"
)
# An empty purse, whatever a program calls it: some say it beside the code of a rate limit.
EMPTY = (
    r"(?:run|ran|are|is) out of credits?\b|\bno credits? (?:left|remaining)|credit balance is too low"
    r"|insufficient (?:account )?(?:balance|credits?|funds)\b|余额不足|欠费"
)
BAD_KEY = (
    r"api[ _-]?key\b.{0,20}(?:not valid|invalid|expired|not found|missing|revoked|leaked|required)"
    r"|(?:invalid|incorrect|missing|expired|wrong|no) (?:\w+ )?(?:api|access|auth\w*)[ _-]?(?:key|token)\b"
    r"|unauthenticated|authentication (?:failed|error|required)|authenticationerror"
)
NO_MODEL = (
    r"\bmodels?\b.{0,100}?(?:not found|not exist|n['’]t exist|no longer|decommissioned|not loaded)"
    r"|\bmodel \S+ is not supported"
    r"|(?:no such|unknown|invalid|unsupported) model\b|no models? (?:is |are )?loaded|not a valid model"
    r"|unexpected endpoint|plain http request was sent to https|unknown (?:request )?url"
)
