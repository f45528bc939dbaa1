"""What a server meant by an error: whose fault it is, and how long to wait.

    Fault       kind, words, and what is known beside them
    fault_of    of a status, headers and a body, whatever their shape

Servers put the same few facts into many shapes: {"error": {...}}, {"detail": [...]}, a list, a text, a web page.
`bodies.read_body` gathers codes, parameters and words from all of them; then tables decide, the surest evidence first:

    1. codes       what programs write for programs: code, type, status, reason
    2. parameters  a field that names a setting that was sent: param, loc, fieldViolations
    3. words       at most the first 600 characters, without what they quote of the question
    4. the status alone

Pure functions of bytes and numbers: any input has an answer, and none raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rlaif.models.bodies import Said, parsed, read_body, spoken, squeezed, without_quotes
from rlaif.models.refusals import refused_setting, surely
from rlaif.models.waits import asked_wait

__all__ = ["Fault", "fault_in", "fault_of"]

JSON = Any
_LOOK = 600  # characters of a server's words that are looked at


class Fault(NamedTuple):
    """Why there is no answer.

    Attributes:
        kind: whose fault it is, and so what to do:
            "question"  this question's: too long, against a policy. The others are asked on.
            "setting"   a setting's: asked again without it.
            "account"   the key's or the purse's: nothing more is asked.
            "address"   the address's or the model's name: nothing more is asked if nothing was answered yet.
            "limit"     too many questions at a time: waited out.
            "server"    the server's: tried again.
        words: the server's own, one line of at most 300 characters.
        final: asking the same question again would fail the same way; only with kind "question".
        setting: with kind "setting", its name as it was sent.
        most: with kind "setting", the largest value that is taken, where the server says so.
        wait: seconds that the server asked to wait, as it said them.
    """

    kind: str
    words: str
    final: bool = False
    setting: str | None = None
    most: int | None = None
    wait: float | None = None


def fault_of(status: int, headers: Mapping[str, str], body: bytes, sent: Mapping[str, Any], now: float) -> Fault:
    """The fault behind an answer whose status is not 2xx.

    Args:
        status: of the answer.
        headers: of the answer, names in any case.
        body: of the answer, as it came.
        sent: the settings that were sent, by name; `messages` among them are used to leave out what is quoted.
        now: seconds since 1970, to read dates against.
    """
    value = parsed(body)
    if value is None:
        value = body.decode("utf-8", "replace")
    return fault_in(value, sent, status=status, headers=headers, now=now)


def fault_in(
    value: JSON,
    sent: Mapping[str, Any],
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    now: float = 0.0,
) -> Fault:
    """The fault that `value`, JSON or a text, tells of; without a status, as in a 200, by the code that it names."""
    said = read_body(value)
    if status is None:
        status = next((number for number in said.statuses if 400 <= number < 600), None)
    text = without_quotes(" ".join(said.words), sent)[:_LOOK]
    setting = refused_setting(said, text, sent) if status in _MAYBE_A_SETTING else None
    code = None if setting and surely(setting, said, text) else _first(_BY_CODE, status, said, text)
    if code is not None:
        found: tuple[str, bool, str | None, int | None] = (*code, None, None)
    elif setting is not None:
        found = ("setting", False, *setting)
    else:
        found = (*(_first(_BY_WORDS, status, said, text) or _by_status(status)), None, None)
    kind, final, name, most = found
    wait = (
        asked_wait(headers or {}, said.waits, text, limited=kind == "limit", now=now)
        if kind in {"limit", "server"}
        else None
    )
    if kind == "server" and status == 503 and wait is not None and _OVERLOADED.search(" ".join((text, *said.codes))):
        kind = "limit"
    return Fault(kind, spoken(said, status), final, name, most, wait)


# --- tables: the first line that fits decides ---


class _Line(NamedTuple):
    """A line of a table: it fits where all that it gives fits. `codes` are squeezed; a * stands for any end."""

    kind: str
    final: bool
    statuses: frozenset[int | None] | None
    codes: re.Pattern[str] | None
    words: re.Pattern[str] | None
    param: str | None


def _line(
    kind: str,
    *,
    final: bool = False,
    statuses: Iterable[int | None] = (),
    codes: str = "",
    words: str = "",
    param: str | None = None,
) -> _Line:
    either = "|".join(re.escape(squeezed(code)) + (".*" if code.endswith("*") else "") for code in codes.split())
    return _Line(
        kind,
        final,
        frozenset(statuses) or None,
        re.compile(either) if either else None,
        re.compile(words, re.IGNORECASE) if words else None,
        param,
    )


def _first(table: Iterable[_Line], status: int | None, said: Said, text: str) -> tuple[str, bool] | None:
    for line in table:
        if (
            (line.statuses is None or status in line.statuses)
            and (line.codes is None or any(line.codes.fullmatch(code) for code in said.codes))
            and (line.words is None or line.words.search(text))
            and (line.param is None or line.param in said.params)
        ):
            return line.kind, line.final
    return None


_REFUSED = frozenset({None, *range(400, 500)} - {401, 402, 408, 429})  # a 4xx that says something
_ZHIPU = frozenset({400, 401, 404, 429})  # with which Zhipu sends its numbers; MiniMax sends its own within a 200
_MINIMAX = frozenset({None})
_MAYBE_A_SETTING = frozenset({None, 400, 403, 404, 422, 500, 501})

# A question longer than the model takes: every server says it in words of its own.
_TOO_LONG = (
    r"context[ _-]?(?:length|window|size)s? |context[ _-]?(?:length|window|size)\b(?!`)|contextwindowexceeded"
    r"|(?:prompt|input|request|message|conversation|content)s?(?: text| is| are| was| were)* too (?:long|large)"
    r"|(?:prompt|input|messages|request)\b[^.]{0,25}\b[\d,]+ (?:input |prompt )?tokens"
    r"|too many (?:input |prompt )?tokens|string too long|entity too large|payload too large"
    r"|(?:prompt|input)s?[ _](?:token )?length|(?:number of|your) input tokens|input tokens? (?:count|exceed)"
    r"|max_tokens must be at least 1, got -"
    r"|token count .{0,60}exceed|token limit|tokens allowed|reduce the length|shorten|fewer inputs"
    r"|output limit was reached"
    r"|`?inputs`? tokens \+ `?max_new_tokens|(?:longer|larger) than the (?:model|maximum|context)"
)
# A question that a filter or a policy stops.
_STOPPED = (
    r"content[ _-]?(?:management )?polic|content[ _-]?filter|contentpolicyviolation"
    r"|safety (?:system|filter|guideline|polic)|flagged|moderation|usage (?:polic|guideline)"
    r"|(?:inappropriate|sensitive|unsafe|prohibited|harmful) content"
    r"|unsafe request|considered high risk|violat\w* .{0,60}polic|responsible ai|敏感|不安全"
)
_NO_CREDIT = (
    r"credit balance|(?:used|exhausted) all (?:available|your)? ?(?:\w+ )?credits|spending (?:limit|cap)"
    r"|insufficient[ _](?:account )?(?:balance|credit|fund|quota)"
    r"|(?:out of|no|any|enough|more|included) credits|credit limit exceeded"
    r"|payment required|budget has been exceeded|good standing|余额不足|欠费|past due|overdue|recharge"
    r"|(?:account|organi[sz]ation)\b.{0,60}(?:suspend|deactivat|disabled|flagged|banned|terminated|restricted)"
)
_BAD_KEY = (
    r"api[ _-]?key\b.{0,20}(?:not valid|invalid|expired|not found|missing|revoked|leaked|required)"
    r"|(?:invalid|incorrect|missing|expired|wrong|no) (?:\w+ )?(?:api|access|auth\w*)[ _-]?(?:key|token)\b"
    r"|unauthenticated|authentication (?:failed|error|required)|authenticationerror"
)
_OVERLOADED = re.compile(r"overload|too busy|at capacity|server busy|loading|too many requests|capacity", re.IGNORECASE)

_BY_CODE = (
    # Groq's 413 has the code of a rate limit; OpenAI's 429 of a question larger than a minute's whole allowance too.
    _line("question", statuses=[413, 429], words=r"request too large|(?:input|output) tokens must be reduced"),
    # Gemini's quota of a day: its RetryInfo names seconds, and the day is not over then.
    _line("account", codes="GenerateRequestsPerDay*  GenerateContentInputTokensPerModelPerDay*"),
    _line("account", words=r"\w+PerDayPer\w+|\w+PerModelPerDay"),
    _line("account", statuses=[403, 429], words=r"free allocated quota"),
    # DashScope's tokens of a minute: the code and the words of OpenAI's empty purse, and a link to its own pages.
    _line("limit", statuses=[429], words=r"allocated quota exceeded|aliyun|alibabacloud|#token-limit"),
    _line("account", statuses=[500], words=r"insufficient[ _]balance"),  # MiniMax
    _line(
        "limit",
        codes="rate_limit_exceeded rate_limit_error rate_limit_reached_error rate_limited resource_exhausted "
        "throttling* ThrottlingException too_many_requests limit_requests engine_overloaded_error overloaded_error "
        "service_tier_capacity_exceeded RateLimitReached",
    ),
    _line("limit", statuses=_ZHIPU, codes="1302 1303 1305"),
    _line("limit", statuses=_MINIMAX, codes="1002"),
    _line(
        "limit", statuses=[429], words=r"resource_exhausted|rate.?limit\w* (?:is |was |has been )?(?:exceeded|reached)"
    ),
    _line(
        "account",
        # OpenAI, Azure, Groq, Moonshot, DashScope, Together, LiteLLM, Volcengine: no money, then no key.
        codes="insufficient_quota billing_hard_limit_reached billing_not_active billing_error account_deactivated "
        "account_suspended organization_restricted access_terminated exceeded_current_quota_error insufficient_balance "
        "insufficient_balance_error insufficient_credits credit_limit payment_required Arrearage "
        "AllocationQuota.FreeTierOnly budget_exceeded AccountOverdueError "
        "invalid_api_key InvalidApiKey api_key_invalid api_key_expired incorrect_api_key_error authentication_error "
        "invalid_authentication_error auth_error token_expired unauthenticated unauthorized "
        "consumer_suspended service_disabled api_key_service_blocked",
    ),
    _line("account", statuses=_ZHIPU, codes="1000 1001 1002 1003 1004 1110 1111 1112 1113"),
    _line("account", statuses=_MINIMAX, codes="1004 1008 2049"),
    _line(
        "question",
        final=True,
        statuses=_REFUSED,
        # OpenAI, Azure, Anthropic, llama-server, DashScope, Volcengine; by a key's being there OpenRouter and Zhipu.
        codes="context_length_exceeded context_window_exceeded exceed_context_size_error model_context_window_exceeded "
        "request_too_large prompt_too_long content_filter content_policy_violation ResponsibleAIPolicyViolation "
        "data_inspection_failed invalid_prompt SensitiveContentDetected* InputTextSensitiveContentDetected "
        "flagged_input content_filter_result content_filter_results contentFilter",
    ),
    _line("question", final=True, statuses=_ZHIPU, codes="1261 1301"),
    _line("question", final=True, statuses=_MINIMAX, codes="1026 1027 1039"),
    # From here on words alone decide.
    _line("account", statuses=[None, 400, 403, 412, 429], words=_NO_CREDIT),
    _line("question", final=True, statuses=[None, 400, 413, 422], words=_TOO_LONG),
    _line("question", final=True, statuses=[None, 400, 403, 422, 451, 498], words=_STOPPED),
    _line("question", statuses=[500], words=_TOO_LONG),
)

_BY_WORDS = (
    _line("account", statuses=_REFUSED, words=_BAD_KEY),
    _line("account", statuses=[None, 400, 403, 429], words=r"exceeded your current quota|plan and billing"),
    _line("limit", statuses=[None, 400, 403, 503], words=r"rate.?limit|too many requests"),
    _line("address", statuses=_REFUSED, param="model"),
    _line(
        "address",
        statuses=_REFUSED,
        codes="model_not_found invalid_model model_not_exist DeploymentNotFound model_decommissioned "
        "model_not_available ModelNotOpen InvalidEndpointOrModel* not_found_error unknown_url",
    ),
    _line("address", statuses=_ZHIPU, codes="1211"),
    _line(
        "address",
        statuses=_REFUSED,
        words=r"\bmodels?\b.{0,100}?(?:not found|not exist|n['’]t exist|no longer|decommissioned|not loaded)"
        r"|\bmodel \S+ is not supported"
        r"|(?:no such|unknown|invalid|unsupported) model\b|no models? (?:is |are )?loaded|not a valid model"
        r"|unexpected endpoint|plain http request was sent to https|unknown (?:request )?url",
    ),
)


def _by_status(status: int | None) -> tuple[str, bool]:
    for kind, final, statuses in _BY_STATUS:
        if status in statuses:
            return kind, final
    return "server", False


_BY_STATUS: tuple[tuple[str, bool, frozenset[int]], ...] = (
    ("limit", False, frozenset({429, 498, 529})),  # 498: Groq's flex tier; 529: Anthropic
    ("account", False, frozenset({401, 402, 403, 407})),
    ("address", False, frozenset({*range(300, 400), 404, 405, 406, 410, 411, 414, 415, 426})),
    ("server", False, frozenset({408, 409, 421, 423, 424, 425, 499})),
    ("question", True, frozenset({413, 451})),
    ("question", False, frozenset(range(400, 500))),
)
