"""What a server meant by an error: whose fault it is, and how long to wait.

    Fault       kind, words, and what is known beside them
    fault_of    of a status, headers and a body, whatever their shape

Servers put the same few facts into many shapes: {"error": {...}}, {"detail": [...]}, a list, a text, a web page.
`_read` gathers codes, parameters and words from all of them; then tables decide, the surest evidence first:

    1. codes       what programs write for programs: code, type, status, reason
    2. parameters  a field that names a setting that was sent: param, loc, fieldViolations
    3. words       at most the first 600 characters, without what they quote of the question
    4. the status alone

Pure functions of bytes and numbers: any input has an answer, and none raises.
"""

from __future__ import annotations

import json
import math
import re
import string
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple

__all__ = ["Fault", "fault_in", "fault_of", "one_line", "parsed", "tells"]

JSON = Any
_WORDS = 300  # characters of a server's words that are kept
_LOOK = 600  # characters of them that are looked at
_DEPTH = 8  # levels of a body that are looked at


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
    said = _read(value)
    if status is None:
        status = next((number for number in said.statuses if 400 <= number < 600), None)
    text = _without_quotes(" ".join(said.words), sent)[:_LOOK]
    setting = _setting(status, said, text, sent)
    code = None if setting and _surely(setting, said, text) else _first(_BY_CODE, status, said, text)
    if code is not None:
        found: tuple[str, bool, str | None, int | None] = (*code, None, None)
    elif setting is not None:
        found = ("setting", False, *setting)
    else:
        found = (*(_first(_BY_WORDS, status, said, text) or _by_status(status)), None, None)
    kind, final, name, most = found
    wait = _wait(headers or {}, said, text, kind, now) if kind in {"limit", "server"} else None
    if kind == "server" and status == 503 and wait is not None and _OVERLOADED.search(" ".join((text, *said.codes))):
        kind = "limit"
    return Fault(kind, _spoken(said, status), final, name, most, wait)


def parsed(body: bytes) -> JSON:
    """`body` as JSON; None where it is none, or null."""
    try:
        return json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):  # ValueError: also a number of more than 4,300 digits
        return None


def tells(value: JSON) -> bool:
    """Whether `value` has words about an error."""
    return bool(_read(value).words)


def one_line(text: str, most: int = _WORDS) -> str:
    """`text` on one line of at most `most` printable characters, with "..." where it is cut.

    It is never cut within a word: half of a key would not be known as one and would be shown.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in _cut(text, 8 * most)).split())
    return line if len(line) <= most else _cut(line, most - 3).rstrip() + "..."


def _cut(text: str, most: int) -> str:
    """The beginning of `text`, without the word that it would end in the middle of."""
    end = most
    if len(text) > most and text[most] in _OF_KEYS:
        while end and text[end - 1] in _OF_KEYS:
            end -= 1
    return text[:end]


_OF_KEYS = frozenset(string.ascii_letters + string.digits + "-._~+/=")


# --- what a body says, whatever its shape ---


class _Said(NamedTuple):
    """What a body says, gathered from all its levels."""

    words: list[str]
    codes: list[str]  # squeezed: "InvalidApiKey", "invalid_api_key" and "API_KEY_INVALID" differ in order alone
    params: list[str]
    mosts: list[int]
    waits: list[float]
    statuses: list[int]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Which keys hold what, in lower case; all others are not looked into: they may quote the question ("input").
_HOLDS_WORDS = _set(
    "message msg error error_message errormessage error_msg err_msg detail details title description faultstring "
    "status_msg error_description raw errors reason cause exception"
)
_HOLDS_CODES = _set(
    "code type status error_type error_code errorcode reason statuscode status_code http_code quotaid __type errortype"
)
_HOLDS_PARAMS = _set("param parameter field loc location pointer")
_HOLDS_MORE = _HOLDS_WORDS | _set("innererror fieldviolations violations metadata base_resp response fault source")
_HOLDS_WAITS = {
    "retrydelay": 1,
    "retry_after": 1,
    "retry_after_seconds": 1,
    "estimated_time": 1,
    "retry_after_ms": 1e-3,
}
_TELLING = _set("flagged_input content_filter_result content_filter_results contentfilter")  # by being there


def _read(value: JSON) -> _Said:
    said = _Said([], [], [], [], [], [])
    _gather(value, said, 0)
    return said


def _gather(value: JSON, said: _Said, depth: int) -> None:
    if depth > _DEPTH or len(said.words) > 20:
        return
    if isinstance(value, str):
        _gather_text(value, said, depth)
    elif isinstance(value, list):
        for item in value[:20]:
            _gather(item, said, depth + 1)
    elif isinstance(value, dict):
        _gather_object(value, said, depth)


def _gather_text(text: str, said: _Said, depth: int) -> None:
    """Words; of a web page its title; a body that stands inside a text (a gateway quotes its provider) is read too."""
    if (start := text.find("{")) >= 0:
        try:
            inner = json.JSONDecoder(strict=False).raw_decode(text[start : start + 20_000])[0]
        except (ValueError, RecursionError):
            inner = None
        if isinstance(inner, dict) and inner:
            before = text[:start].strip(" \n:-[b'\"")
            if before:
                said.words.append(before)
            _gather(inner, said, depth + 1)
            return
    if _PAGE.match(text):
        title = _TITLE.search(text)
        text = title.group(1) if title else _TAG.sub(" ", _cut(text, 4000))
    if text.strip():
        said.words.append(_cut(text, 4000))


_PAGE = re.compile(r"\s*<(?:!doctype|html|head|body|\?xml|center|h1|title)", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,5000})", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,500}>")


def _gather_object(value: dict[Any, JSON], said: _Said, depth: int) -> None:
    names: list[str] = []
    for key, item in list(value.items())[:50]:
        key = str(key)[:50].lower()
        if key in _HOLDS_PARAMS:
            names += _names(item)
        if key in _TELLING and item:
            said.codes.append(_squeezed(key))
        if key in _HOLDS_WAITS and (seconds := _seconds(item)) is not None:
            said.waits.append(seconds * _HOLDS_WAITS[key])
        if key == "ctx" and isinstance(item, dict):
            said.mosts.extend(_limits(item))
        if key in _HOLDS_CODES and isinstance(item, str | int) and not isinstance(item, bool):
            _gather_code(item, said)
    said.params.extend(names)
    before = len(said.words)
    for key, item in list(value.items())[:50]:
        key = str(key)[:50].lower()
        if key == "reason" and isinstance(item, str) and " " not in item:
            continue  # a code
        if (isinstance(item, dict | list) and key in _HOLDS_MORE) or (isinstance(item, str) and key in _HOLDS_WORDS):
            _gather(item, said, depth + 1)
    if names and len(said.words) > before and not any(name in said.words[before] for name in names):
        said.words[before] = f"{names[-1]}: {said.words[before]}"  # FastAPI's message does not name the field


def _gather_code(code: str | int, said: _Said) -> None:
    text = str(code)[:100] if isinstance(code, str) or abs(code) < 10**9 else ""
    if re.fullmatch(r"[1-9]\d\d", text):
        said.statuses.append(int(text))
    elif text:
        said.codes.append(_squeezed(text))


def _squeezed(code: str) -> str:
    return re.sub(r"[^a-z0-9]", "", code.lower())


def _names(param: JSON) -> list[str]:
    """["body", "seed"], "generation_config.seed" and "/seed" all name seed; of a list's places only the first does."""
    if isinstance(param, list):
        param = next((part for part in param[:10] if isinstance(part, str) and part != "body"), "")
    names = re.split(r"[^\w-]+", param[:200]) if isinstance(param, str) else []
    return names[:1] if names[0:1] == ["messages"] else [name for name in names if name]


def _limits(ctx: dict[Any, JSON]) -> Iterable[int]:
    """Pydantic's {"le": 5} or {"lt": 6}."""
    for key, less in (("le", 0), ("lt", 1), ("max_value", 0)):
        value = ctx.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 10**9:
            yield math.ceil(value) - less if less else int(value)


def _spoken(said: _Said, status: int | None) -> str:
    """The words, or what the codes or the status say where there are none."""
    words: list[str] = []
    for text in said.words:
        line = one_line(text)
        if line and not any(line in earlier for earlier in words):
            words.append(line)
    if not words and said.codes:
        words = [one_line(said.codes[0])]
    if not words and status is not None:
        try:
            words = [HTTPStatus(status).phrase]
        except ValueError:
            words = [f"status {status}"]
    return one_line("; ".join(words)) or "an error without words"


def _without_quotes(text: str, sent: Mapping[str, Any]) -> str:
    """`text` on one line without long quotations, and without what stands in the question: it is not the server's."""
    text = one_line(text, 4 * _LOOK)
    text = _QUOTED.sub(" ", text)
    asked = _asked(sent.get("messages"))
    if asked:
        for piece in _PIECES.findall(text):
            if len(piece) >= 12 and " " in piece and piece in asked:
                text = text.replace(piece, " ")
    return text


# Not what stands behind a key: {'message': "..."} is the server's own.
_QUOTED = re.compile(r"(?<!['\"]: )(?:\"[^\"]{60,}\"|(?<!\w)'[^']{60,}'(?!\w))|“[^”]{60,}”|`[^`]{60,}`")
_PIECES = re.compile(r"[^\"'`“”:;\[\](){}]+")


def _asked(messages: JSON) -> str:
    if not isinstance(messages, list | tuple):
        return ""
    contents = [message.get("content") for message in messages[:50] if isinstance(message, Mapping)]
    return " ".join(" ".join(text.split()) for text in contents if isinstance(text, str))


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
    either = "|".join(re.escape(_squeezed(code)) + (".*" if code.endswith("*") else "") for code in codes.split())
    return _Line(
        kind,
        final,
        frozenset(statuses) or None,
        re.compile(either) if either else None,
        re.compile(words, re.IGNORECASE) if words else None,
        param,
    )


def _first(table: Iterable[_Line], status: int | None, said: _Said, text: str) -> tuple[str, bool] | None:
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


# --- which setting is refused, and the largest value that is taken ---


def _setting(status: int | None, said: _Said, text: str, sent: Mapping[str, Any]) -> tuple[str, int | None] | None:
    """The setting that is refused and the most that it may be: by what names it, else by words."""
    if status not in _MAYBE_A_SETTING:
        return None
    ours = [name for name in sent if isinstance(name, str) and name not in _NO_SETTINGS and sent[name] is not None]
    if not ours:
        return None
    known = {_squeezed(spelling): name for name in reversed(ours) for spelling in _spellings(name)}
    name = next((known[_squeezed(param)] for param in said.params if _squeezed(param) in known), None)
    if name is None and {"messages", "prompt", "model"} & set(said.params):
        return None
    if name is None:
        matches = [(match, ours_) for ours_ in ours if (match := _refusal(ours_).search(text))]
        matches.sort(key=lambda pair: pair[0].start(pair[0].lastindex or 0))
        # Of two that do not go together the later one: `temperature` comes before `top_p`, and matters more.
        name = matches[-1 if _NOT_BOTH.search(text) else 0][1] if matches else None
    if name is None:
        return None
    most = _most(said.mosts, text, sent.get(name))
    if name == "logprobs" and most is None and sent.get("top_logprobs") is not None:
        most = _most(said.mosts, text, sent["top_logprobs"])
        name = name if most is None else "top_logprobs"
    return name, most


def _surely(setting: tuple[str, int | None], said: _Said, text: str) -> bool:
    """Whether no words can speak against it: a code says so, or more tokens were asked for than are ever given."""
    name, most = setting
    too_many = most is not None and name in {"max_tokens", "max_completion_tokens"} and "context" not in text.lower()
    return too_many or (bool(said.params) and not _SETTINGS_CODES.isdisjoint(said.codes))


_SETTINGS_CODES = frozenset(
    _squeezed(code)
    for code in _set(
        "unsupported_parameter unsupported_value unknown_parameter extra_forbidden integer_above_max_value "
        "integer_below_min_value decimal_above_max_value decimal_below_min_value invalid_type less_than_equal "
        "greater_than_equal less_than greater_than"
    )
)
_NOT_BOTH = re.compile(r"cannot both|not both|only one of|mutually exclusive", re.IGNORECASE)
_NO_SETTINGS = {"model", "messages", "stream"}
_OWN_WORDS = {"temperature", "seed", "logprobs"}  # words that are rare enough beside one that refuses

# Other names under which servers speak of a setting: Gemini's and xAI's camel case come out by squeezing.
_OTHER = {
    "max_tokens": ("max_completion_tokens", "max_new_tokens", "max_output_tokens"),
    "max_completion_tokens": ("max_tokens", "max_new_tokens", "max_output_tokens"),
    "logprobs": ("log probabilities", "log-probabilities", "log probs", "logits_all", "response_logprobs", "logprob"),
    "top_logprobs": ("top log probabilities", "num_logprobs", "top_n_tokens"),
    "seed": ("random_seed",),
    "reasoning_effort": ("reasoning", "thinking_level"),
}


def _spellings(name: str) -> tuple[str, ...]:
    return (name, *_OTHER.get(name, ()))


_PATTERNS: dict[str, re.Pattern[str]] = {}


def _refusal(name: str) -> re.Pattern[str]:
    """A clause that refuses the setting; its last group is the setting's name."""
    if name not in _PATTERNS:
        if len(_PATTERNS) > 1000:
            _PATTERNS.clear()
        either = "|".join(re.escape(spelling).replace("_", "[_ -]?") for spelling in _spellings(name))
        named = rf"(?<![\w.-])({either})(?![\w-]| of (?:the|an?|your|his|her|its|our|their) (?!model))"
        if name.isalpha() and name not in _OWN_WORDS:  # "user", "stop": a name where it is quoted or called one
            named = rf"(?:(?<=['\"`])|(?:parameter|argument|field|key|option|property|supplied)s?:? ){named}"
        _PATTERNS[name] = re.compile(rf"(?:{_REFUSING}){_SAME}{named}|{named}(?={_SAME}(?:{_REFUSES}))", re.I)
    return _PATTERNS[name]


_SAME = r"(?:(?!\.\s)[^;]){0,60}?"  # what may stand between a name and what refuses it: no end of a sentence
_NOT = r"(?:\bnot|n['’]t|\bcannot|\bno longer|\bnever)(?: \w+){0,3}? "
_TAKE = r"(?:support|accept|allow|permit|recogni[sz]|implement|available|enabled|valid|compatible)\w*"
_ALIEN = r"\b(?:unsupported|unknown|unrecogni[sz]ed|unexpected|invalid|illegal|forbidden)\b"
# Before the name ("unknown name `seed`"), and after it ("seed is not supported").
_REFUSING = (
    rf"{_ALIEN}|\b(?:extra|no support for|only supports?|range of)\b"
    rf"|{_NOT}{_TAKE}|{_NOT}(?:have|provide|take|use|specify|set)\b"
)
_REFUSES = (
    rf"{_ALIEN}|\b(?:deprecated|out of range|only)\b|{_NOT}{_TAKE}|{_NOT}(?:exceed|set|be|work|greater|more|both)\b"
    r"|\b(?:must|should|needs? to|exceeds?|above|at most|maximum)\b|\btoo (?:large|high|big|small|low|many)"
    r"|\bextra (?:inputs|fields)|\b(?:greater|larger|higher|more) than|\brange:|> ?\d"
)

_BOUND = (  # what stands before the largest value that is taken
    r"(?:<=?|≤|at most|up to|less than or equal to|between -?[\d.]+ (?:and|to)|\[ ?-?[\d.]+ ?,"
    r"|from -?[\d.]+ to|range:? [\d.]+ ?(?:\.\.+|-|to)|> ?(?=\d+,? which is the max)"
    r"|(?:max\w*|limit)(?: (?:allowed|value|number|supported|is|of|for|this|model|tokens?|completion|output))*:?"
    r"|(?:exceeds?|above|over|(?:greater|larger|more|higher|bigger) than)"
    r"(?: (?:the|a|max\w*|limit|allowed|value|of|is))*:?)"
)
_MOST = re.compile(rf"{_BOUND} ?[`'\"]?(\d{{1,3}}(?:,\d{{3}})+|\d{{1,9}})(?![\d.]*\d)", re.IGNORECASE)


def _most(limits: list[int], text: str, value: JSON) -> int | None:
    """The largest value that is taken: a limit below what was sent, by which alone it can have been refused."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    said = [*limits, *(int(number.replace(",", "")) for number in _MOST.findall(text))]
    return next((limit for limit in said if limit < value), None)


# --- how long to wait ---


def _wait(headers: Mapping[str, str], said: _Said, text: str, kind: str, now: float) -> float | None:
    """Seconds that the server asks to wait: by its headers, its body, its words; None where it does not say."""
    given = {str(name).lower(): str(value).strip()[:200] for name, value in headers.items()}
    for name, unit in (("retry-after-ms", 0.001), ("x-ms-retry-after-ms", 0.001), ("retry-after", 1.0)):
        if name in given and (seconds := _until(given[name], now)) is not None:
            return seconds * unit
    if said.waits:
        return max(said.waits)
    if match := _AGAIN.search(text):
        return _seconds(match.group(1))
    if kind != "limit":
        return None
    resets = {
        name: seconds for name in given if _RESET.match(name) and (seconds := _until(given[name], now)) is not None
    }
    empty = [seconds for name, seconds in resets.items() if given.get(name.replace("reset", "remaining")) == "0"]
    return max(empty) if empty else min(resets.values(), default=None)


_DURATION = r"\d[\d.]{0,18} ?(?:ms|milliseconds?|hours?|minutes?|seconds?|mins?|secs?|[hms])(?![a-z])"
_AGAIN = re.compile(
    rf"(?:try again|retry(?:ing)?|please wait|wait|available again|reset)\b[^.\d]{{0,40}}((?:{_DURATION} ?){{1,4}})",
    re.IGNORECASE,
)
_RESET = re.compile(r"(?:x-|anthropic-)?rate-?limit-(?:.{1,30}-)?reset(?:-.{1,30})?$")


def _seconds(value: JSON) -> float | None:
    """20, "20", "20s", "1m30.5s", "6ms", "2 minutes" in seconds; None for what is none of them."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if not isinstance(value, str):
        return float(value) if 0 <= value < 1e12 else None
    text = value.strip().lower()[:100]
    if re.fullmatch(r"\d{1,15}(?:\.\d{0,12})?", text):
        return float(text)
    parts = re.findall(r"(\d{1,15}(?:\.\d{0,12})?) ?([a-z]+)", text)
    if not parts or not re.fullmatch(rf"(?:{_DURATION}[ ,]*){{1,4}}", text):
        return None
    return sum(float(number) * _unit(unit) for number, unit in parts)


def _unit(unit: str) -> float:
    if unit.startswith(("ms", "milli")):
        return 0.001
    return {"h": 3600.0, "m": 60.0, "s": 1.0}[unit[0]]


def _until(text: str, now: float) -> float | None:
    """Seconds from `now`: a number of them, a duration, an HTTP or ISO date, or seconds or milliseconds since 1970."""
    seconds = _seconds(text)
    if seconds is not None:
        if seconds > 1e11:
            seconds /= 1000
        return max(0.0, seconds - now) if seconds > 1e9 else seconds
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
            return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None
