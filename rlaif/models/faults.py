"""What a server meant by an error: whose fault it is, and how long to wait.

    Fault       kind, words, and what is known beside them
    fault_of    of a status, headers and a body, whatever their shape

Servers put the same few facts into many shapes: {"error": {...}}, {"detail": [...]}, a list, a text, a web page.
`bodies.read_body` gathers codes, parameters and words from all of them; then tables decide, the surest evidence first:

    1. codes       what programs write for programs: code, type, status, reason
    2. parameters  a field that names a setting that was sent: param, loc, fieldViolations
    3. words       at most the first 600 characters, without what they quote of the question (`quotes`)
    4. a setting that is named, however it is refused, and where nothing else is said
    5. the status alone

Words end a run only where they cannot be the question's: it may speak of empty accounts and of models unknown.

Pure functions of bytes and numbers: any input has an answer, and none raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rlaif.models.bodies import Said, parsed, read_body, spoken, squeezed
from rlaif.models.phrases import BAD_KEY, CLOSED, EMPTY, NO_CREDIT, NO_MODEL, OF_THE_QUESTION, STOPPED, TOO_LONG
from rlaif.models.quotes import Heard, listen
from rlaif.models.refusals import named_setting, refused_setting, surely
from rlaif.models.waits import asked_wait

__all__ = ["Fault", "fault_in", "fault_of"]

JSON = Any


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
    heard = listen(" ".join(said.words), sent)
    if heard.quoted and status is not None and status >= 500:
        heard = heard._replace(text="")  # it fell over the question: nothing about any other
    kind, final, name, most = _found(status, said, heard, sent)
    wait = None
    if kind in {"limit", "server"}:
        wait = asked_wait(headers or {}, said.waits, heard.text, limited=kind == "limit", now=now)
    if status == 503 and wait is not None and _OVERLOADED.search(" ".join((heard.text, *said.codes))):
        kind = "limit"
    return Fault(kind, spoken(said, status), final, name, most, wait)


def _found(
    status: int | None, said: Said, heard: Heard, sent: Mapping[str, Any]
) -> tuple[str, bool, str | None, int | None]:
    """Kind, whether it is final, the setting and its largest value: by the surest evidence that there is."""
    refused = refused_setting(said, heard, sent) if status in _MAY_REFUSE else None
    table = () if refused and surely(refused, said, heard) else _BY_CODE if refused else (*_BY_CODE, *_BY_WORDS)
    if line := _first(table, status, said, heard):
        return line.kind, line.final, None, None
    if refused is None and status in _MAY_NAME:
        refused = named_setting(said, heard, sent)
    return ("setting", False, *refused) if refused else (*_by_status(status, heard), None, None)


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


def _first(table: Iterable[_Line], status: int | None, said: Said, heard: Heard) -> _Line | None:
    for line in table:
        if (
            (line.statuses is None or status in line.statuses)
            and (line.codes is None or any(line.codes.fullmatch(code) for code in said.codes))
            and (line.words is None or _says(line, status, heard))
            and (line.param is None or line.param in said.params)
        ):
            return line
    return None


def _says(line: _Line, status: int | None, heard: Heard) -> bool:
    """Whether the words of a line are said; those about all questions must not be about this one."""
    assert line.words is not None
    if line.kind == "question" or status in _NOT_OF_QUESTIONS:
        return line.words.search(heard.text) is not None
    return not heard.quoted and any(True for _ in heard.own(line.words))


_NOT_OF_QUESTIONS = frozenset({401, 402, 429})  # whatever is quoted beside them
_REFUSED = frozenset({None, *range(400, 500)} - {401, 402, 408, 429})  # a 4xx that says something
_JUDGED = frozenset({None, 400, 403, 405, 409, 422, 451, 498})  # with which a question is refused
_ZHIPU = frozenset({400, 401, 404, 429})  # with which Zhipu sends its numbers; MiniMax sends its own within a 200
_MINIMAX = frozenset({None})
_MAY_NAME = frozenset({None, 400, 403, 404, 405, 409, 422})  # with which a setting is refused, in any words
_MAY_REFUSE = _MAY_NAME | {500, 501}  # in words of refusal

_OVERLOADED = re.compile(r"overload|too busy|at capacity|server busy|loading|too many requests|capacity", re.IGNORECASE)

_BY_CODE = (
    _line("account", statuses=[402]),
    # Groq's 413 has the code of a rate limit; OpenAI's 429 of a question larger than a minute's whole allowance too.
    _line("question", statuses=[413, 429], words=r"request too large|(?:input|output) tokens must be reduced"),
    # Gemini's quota of a day: its RetryInfo names seconds, and the day is not over then.
    _line("account", codes="GenerateRequestsPerDay*  GenerateContentInputTokensPerModelPerDay*"),
    _line("account", statuses=[None, 429], words=r"\w+PerDayPer\w+|\w+PerModelPerDay"),
    _line("account", statuses=[429], words=r"free allocated quota"),
    # DashScope's tokens of a minute: the code and the words of OpenAI's empty purse, and a link to its own pages.
    _line("limit", statuses=[429], words=r"allocated quota exceeded|aliyun|alibabacloud|#token-limit"),
    # Gemini's quota of a minute: OpenAI's words of an empty purse.
    _line("limit", codes="resource_exhausted"),
    _line("limit", statuses=[429], words=r"resource_exhausted"),
    _line("account", statuses=[500], words=r"insufficient[ _]balance"),  # MiniMax
    # An empty purse decides before words of rate limits, which some say beside it.
    _line("account", codes="insufficient_quota billing_hard_limit_reached billing_not_active insufficient_credits"),
    _line("account", statuses=[429], words=EMPTY),
    _line(
        "limit",
        codes="rate_limit_exceeded rate_limit_error rate_limit_reached_error rate_limited "
        "throttling* ThrottlingException too_many_requests limit_requests engine_overloaded_error overloaded_error "
        "service_tier_capacity_exceeded RateLimitReached",
    ),
    _line("limit", statuses=_ZHIPU, codes="1302 1303 1305"),
    _line("limit", statuses=_MINIMAX, codes="1002"),
    _line("limit", statuses=[429], words=r"rate.?limit\w* (?:is |was |has been )?(?:exceeded|reached)"),
    _line(
        "account",
        # OpenAI, Azure, Groq, Moonshot, DashScope, Together, LiteLLM, Volcengine: no money, then no key.
        codes="billing_error account_deactivated account_suspended organization_restricted access_terminated "
        "exceeded_current_quota_error insufficient_balance insufficient_balance_error credit_limit payment_required "
        "Arrearage AllocationQuota.FreeTierOnly budget_exceeded AccountOverdueError "
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
    # From here on words alone decide. Policies come before money: a question may be refused for speaking of it.
    _line("question", final=True, statuses=[None, 400, 413, 422], words=TOO_LONG),
    _line("account", statuses=[400, 403], words=CLOSED),
    _line("question", final=True, statuses=_JUDGED, words=STOPPED),
    _line("question", statuses=[500], words=TOO_LONG),
    _line("account", statuses=[429], words=NO_CREDIT),
)

_BY_WORDS = (
    _line("address", statuses=_REFUSED, param="model"),
    _line(
        "address",
        statuses=_REFUSED,
        codes="model_not_found invalid_model model_not_exist DeploymentNotFound model_decommissioned "
        "model_not_available ModelNotOpen InvalidEndpointOrModel* not_found_error unknown_url",
    ),
    _line("address", statuses=_ZHIPU, codes="1211"),
    _line("question", statuses=_JUDGED, words=OF_THE_QUESTION),
    _line("account", statuses=[None, 400, 403, 412], words=NO_CREDIT),
    _line("account", statuses=_REFUSED, words=BAD_KEY),
    _line("account", statuses=[None, 400, 403, 429], words=r"exceeded your current quota|plan and billing"),
    _line("limit", statuses=[None, 400, 403, 503], words=r"rate.?limit|too many requests"),
    _line("address", statuses=_REFUSED, words=NO_MODEL),
)


def _by_status(status: int | None, heard: Heard) -> tuple[str, bool]:
    kind, final = next(((kind, final) for kind, final, statuses in _BY_STATUS if status in statuses), ("server", False))
    if heard.quoted and status in _REFUSED and kind in {"account", "address"}:
        return "question", False
    return kind, final


_BY_STATUS: tuple[tuple[str, bool, frozenset[int]], ...] = (
    ("limit", False, frozenset({429, 498, 529})),  # 498: Groq's flex tier; 529: Anthropic
    ("account", False, frozenset({401, 402, 403, 407})),
    ("address", False, frozenset({*range(300, 400), 404, 405, 406, 410, 411, 414, 415, 426})),
    ("server", False, frozenset({408, 409, 421, 423, 424, 425, 499})),
    ("question", True, frozenset({413, 451})),
    ("question", False, frozenset(range(400, 500))),
)
