"""What servers mean by their errors: made-up bodies in the shapes that real ones have."""

# ruff: noqa: E501 (a row of a table is a line)

from __future__ import annotations

import html
import json
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.models.faults import Fault, fault_in, fault_of
from rlaif.models.quotes import listen

NOW = 1_700_000_000.0
SENT = {
    "temperature": 0.0,
    "seed": 12345,
    "max_tokens": 16,
    "top_p": 0.9,
    "logprobs": True,
    "top_logprobs": 20,
    "reasoning_effort": "low",
    "top_k": 0,
    "chat_template_kwargs": {"enable_thinking": False},
}


def openai(message: Any, type: Any = None, param: Any = None, code: Any = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": param, "code": code, **more}}


def flat(message: Any, type: Any = "BadRequestError", param: Any = None, code: Any = 400) -> dict[str, Any]:
    """vLLM's older shape, SGLang's, LMDeploy's and TensorRT-LLM's."""
    return {"object": "error", "message": message, "type": type, "param": param, "code": code}


def gemini(message: str, status: str, code: int = 400, details: Any = ()) -> list[Any]:
    return [{"error": {"code": code, "message": message, "status": status, "details": list(details)}}]


def detail(*loc: Any, msg: str = "Extra inputs are not permitted", type: str = "extra_forbidden", **more: Any) -> Any:
    return {
        "detail": [{"type": type, "loc": ["body", *loc], "msg": msg, "input": "temperature is not supported", **more}]
    }


def nginx(title: str) -> bytes:
    return f"<html>\r\n<head><title>{title}</title></head>\r\n<body><center><h1>{title}</h1></center></body></html>".encode()


def retry(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def quota(*ids: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": i} for i in ids]}


NO_CREDIT = "You have used up your current quota: please check your plan and billing details."
ACCOUNT = {"kind": "account"}
ADDRESS = {"kind": "address"}
SERVER = {"kind": "server"}
LIMIT = {"kind": "limit"}
QUESTION = {"kind": "question"}
FINAL = {"kind": "question", "final": True}


def setting(name: str, most: int | None = None) -> dict[str, Any]:
    return {"kind": "setting", "setting": name, "most": most}


def limit(wait: float | None) -> dict[str, Any]:
    return {"kind": "limit", "wait": wait}


# who, status, headers, body, what it is
ROWS: list[tuple[str, int, dict[str, str], Any, dict[str, Any]]] = [
    # --- OpenAI ---
    ("openai no credit", 429, {}, openai(NO_CREDIT, "insufficient_quota", None, "insufficient_quota"), ACCOUNT),
    ("openai no credit, code alone", 429, {}, openai("Sorry.", None, None, "insufficient_quota"), ACCOUNT),
    ("openai no credit, words alone", 429, {}, {"error": "You exceeded your current quota, please check your plan and billing details."}, ACCOUNT),
    ("openai hard limit", 400, {}, openai("Billing limit.", "invalid_request_error", None, "billing_hard_limit_reached"), ACCOUNT),
    ("openai key", 401, {}, openai("Incorrect API key provided: sk-x", "invalid_request_error", None, "invalid_api_key"), ACCOUNT),
    ("openai country", 403, {}, openai("Region not supported", "request_forbidden", None, "unsupported_country_region_territory"), ACCOUNT),
    ("openai rate", 429, {}, openai("Rate limit reached for m on requests per min: Limit 3. Please try again in 20s. Add a payment method at /account/billing.", "requests", None, "rate_limit_exceeded"), limit(20.0)),
    ("openai rate, ms", 429, {"retry-after-ms": "250", "retry-after": "1"}, openai("Rate limit reached.", "tokens", None, "rate_limit_exceeded"), limit(0.25)),
    ("openai rate, day", 429, {}, openai("Rate limit reached on requests per day (RPD): Limit 200. Please try again in 7m12s.", "requests", None, "rate_limit_exceeded"), limit(432.0)),
    ("openai larger than a minute", 429, {}, openai("Request too large for m on tokens per min (TPM): Limit 10000, Requested 12000. The input or output tokens must be reduced.", "tokens", None, "rate_limit_exceeded"), QUESTION),
    ("openai reset headers", 429, {"x-ratelimit-reset-requests": "1s", "x-ratelimit-remaining-requests": "9", "X-RateLimit-Reset-Tokens": "6m0s", "x-ratelimit-remaining-tokens": "0"}, openai("Slow down"), limit(360.0)),
    ("openai max_tokens", 400, {}, openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "invalid_request_error", "max_tokens", "unsupported_parameter"), setting("max_tokens")),
    ("openai temperature", 400, {}, openai("Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.", "invalid_request_error", "temperature", "unsupported_value"), setting("temperature")),
    ("openai top_logprobs", 400, {}, openai("Invalid 'top_logprobs': integer above maximum value. Expected a value <= 5, but got 20 instead.", "invalid_request_error", "top_logprobs", "integer_above_max_value"), setting("top_logprobs", 5)),
    ("openai seed", 400, {}, openai("Unrecognized request argument supplied: seed", "invalid_request_error"), setting("seed")),
    ("openai unknown key", 400, {}, openai("Unknown parameter: 'top_k'.", "invalid_request_error", "top_k", "unknown_parameter"), setting("top_k")),
    ("openai logprobs", 403, {}, openai("You are not allowed to request logprobs from this model", "invalid_request_error"), setting("logprobs")),
    ("openai sampling", 403, {}, openai("You are not allowed to sample from this model", "invalid_request_error"), ACCOUNT),
    ("openai effort", 400, {}, openai("Unsupported value: 'low' is not supported with this model.", "invalid_request_error", "reasoning_effort", "unsupported_value"), setting("reasoning_effort")),
    ("openai context", 400, {}, openai("This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.", "invalid_request_error", "messages", "context_length_exceeded"), FINAL),
    ("openai long string", 400, {}, openai("Invalid 'messages[0].content': string too long.", "invalid_request_error", "messages[0].content", "string_above_max_length"), FINAL),
    ("openai flagged", 400, {}, openai("Your prompt was stopped.", "invalid_request_error", None, "invalid_prompt"), FINAL),
    ("openai policy", 400, {}, openai("The request goes against our usage policies.", "invalid_request_error", None, "content_policy_violation"), FINAL),
    ("openai model", 404, {}, openai("The model `m` does not exist or you do not have access to it.", "invalid_request_error", None, "model_not_found"), ADDRESS),
    ("openai model, 403", 403, {}, openai("Project p does not have access to model m", "invalid_request_error", None, "model_not_found"), ADDRESS),
    ("openai url", 404, {}, openai("Invalid URL (POST /chat/completions)", "invalid_request_error"), ADDRESS),
    ("openai 500", 500, {}, openai("The server had an error.", "server_error"), SERVER),
    ("openai overloaded", 503, {}, openai("The engine is currently overloaded, please try again later", "server_error"), SERVER),
    ("openai overloaded, wait", 503, {"Retry-After": "7"}, openai("The engine is currently overloaded", "server_error"), limit(7.0)),
    ("openai other 400", 400, {}, openai("Something is wrong with your request.", "invalid_request_error"), QUESTION),
    ("openai bad message", 400, {}, openai("Invalid value: 'temperature is not supported'", "invalid_request_error", "messages[0].role"), QUESTION),
    # --- Azure ---
    ("azure filter", 400, {}, openai("The response was filtered by the content management policy.", None, "prompt", "content_filter", status=400, innererror={"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}}), FINAL),
    ("azure filter, inner", 400, {}, {"error": {"message": "Stopped.", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, FINAL),
    ("azure rate", 429, {}, {"error": {"code": "429", "message": "Requests have exceeded the token rate limit of your tier. Please retry after 20 seconds."}}, limit(20.0)),
    ("azure key", 401, {}, {"statusCode": 401, "message": "Unauthorized. Access token is missing or invalid."}, ACCOUNT),
    ("azure deployment", 404, {}, {"error": {"code": "DeploymentNotFound", "message": "The deployment for this resource does not exist."}}, ADDRESS),
    ("azure path", 404, {}, {"error": {"code": "404", "message": "Resource not found"}}, ADDRESS),
    # --- Gemini ---
    ("gemini key", 400, {}, gemini("API key not valid. Please pass a valid one.", "INVALID_ARGUMENT", details=[{"reason": "API_KEY_INVALID"}]), ACCOUNT),
    ("gemini key, reason alone", 400, {}, gemini("Bad request.", "INVALID_ARGUMENT", details=[{"reason": "API_KEY_INVALID"}]), ACCOUNT),
    ("gemini minute", 429, {}, gemini("You exceeded your current quota, please check your plan and billing details.", "RESOURCE_EXHAUSTED", 429, [quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), retry("19.5s")]), limit(19.5)),
    ("gemini minute, bare", 429, {}, gemini("Resource has been exhausted (e.g. check quota).", "RESOURCE_EXHAUSTED", 429), limit(None)),
    ("gemini day", 429, {}, gemini("You exceeded your current quota.", "RESOURCE_EXHAUSTED", 429, [quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "GenerateRequestsPerDayPerProjectPerModel-FreeTier"), retry("31s")]), ACCOUNT),
    ("gemini in a text", 429, {}, openai(json.dumps(gemini("You exceeded your current quota.", "RESOURCE_EXHAUSTED", 429, [retry("3s")])[0], indent=1)), limit(3.0)),
    ("gemini in a gateway's words", 429, {}, openai("429 RESOURCE_EXHAUSTED. {'error': {'code': 429, 'message': 'You exceeded your current quota, please check your plan and billing details.'}}"), LIMIT),
    ("gemini day in a gateway's words", 429, {}, openai("429 RESOURCE_EXHAUSTED. {'error': {'violations': [{'quotaId': 'GenerateRequestsPerDayPerProjectPerModel-FreeTier'}]}}"), ACCOUNT),
    ("gemini seed", 400, {}, gemini('Invalid JSON payload received. Unknown name "seed": Cannot find field.', "INVALID_ARGUMENT", details=[{"fieldViolations": [{"description": "Cannot find field."}]}]), setting("seed")),
    ("gemini field", 400, {}, gemini("Invalid argument.", "INVALID_ARGUMENT", details=[{"fieldViolations": [{"field": "generation_config.seed", "description": "no"}]}]), setting("seed")),
    ("gemini logprobs", 400, {}, gemini("Logprobs is not enabled for models/g", "INVALID_ARGUMENT"), setting("logprobs")),
    ("gemini context", 400, {}, gemini("The input token count (1300000) exceeds the maximum number of tokens allowed (1048576).", "INVALID_ARGUMENT"), FINAL),
    ("gemini model", 404, {}, gemini("models/g is not found for API version v1main", "NOT_FOUND", 404), ADDRESS),
    ("gemini overloaded", 503, {}, gemini("The model is overloaded. Please try again later.", "UNAVAILABLE", 503), SERVER),
    ("gemini forbidden", 403, {}, gemini("The caller is not permitted.", "PERMISSION_DENIED", 403), ACCOUNT),
    # --- Anthropic ---
    ("anthropic overloaded", 529, {}, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, limit(None)),
    ("anthropic rate", 429, {"retry-after": "12"}, {"type": "error", "error": {"type": "rate_limit_error", "message": "This would exceed your organization's rate limit"}}, limit(12.0)),
    ("anthropic reset", 429, {"anthropic-ratelimit-requests-reset": "2023-11-14T22:13:50Z", "anthropic-ratelimit-requests-remaining": "0"}, {"type": "error", "error": {"type": "rate_limit_error", "message": "Too fast"}}, limit(30.0)),
    ("anthropic credit", 400, {}, {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to use this API."}}, ACCOUNT),
    ("anthropic key", 401, {}, {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}, ACCOUNT),
    ("anthropic prompt", 400, {}, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}}, FINAL),
    ("anthropic filter", 400, {}, {"type": "error", "error": {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"}}, FINAL),
    ("anthropic size", 413, {}, {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}, FINAL),
    ("anthropic temperature", 400, {}, openai("temperature: range: 0..1", "invalid_request_error", None, "invalid_request_error"), setting("temperature")),
    ("anthropic deprecated", 400, {}, openai("`temperature` is deprecated for this model.", "invalid_request_error"), setting("temperature")),
    ("anthropic model", 404, {}, {"type": "error", "error": {"type": "not_found_error", "message": "model: m"}}, ADDRESS),
    # --- Mistral ---
    ("mistral seed", 422, {}, detail("seed"), setting("seed")),
    ("mistral message object", 422, {}, {"object": "error", "message": detail("seed"), "type": "invalid_request_error", "param": None, "code": None}, setting("seed")),
    ("mistral message text", 422, {}, {"object": "error", "message": json.dumps(detail("logprobs")), "type": "internal_error_proxy", "param": None, "code": "1000"}, setting("logprobs")),
    ("mistral rate", 429, {}, {"object": "error", "message": "Requests rate limit exceeded", "type": "rate_limited", "param": None, "code": "1300"}, limit(None)),
    ("mistral capacity", 429, {}, {"message": "Service tier capacity exceeded for this model.", "type": "service_tier_capacity_exceeded", "code": "3505"}, LIMIT),
    ("mistral key", 401, {}, {"detail": "Unauthorized"}, ACCOUNT),
    ("mistral model", 400, {}, {"object": "error", "message": "Invalid model: m", "type": "invalid_model", "param": None, "code": "1500"}, ADDRESS),
    ("mistral context", 400, {}, {"object": "error", "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", "type": "invalid_request_error", "code": "3051"}, FINAL),
    ("mistral another's seed", 422, {}, detail("messages", 0, "user", "seed"), QUESTION),
    # --- Groq, Together, Fireworks, DeepSeek, xAI, OpenRouter, Cohere ---
    ("groq logprobs", 400, {}, openai("`logprobs` is not supported with this model", "invalid_request_error"), setting("logprobs")),
    ("groq rate", 429, {"retry-after": "2"}, openai("Rate limit reached on tokens per day (TPD): Limit 100000. Please try again in 14m3.5s. Need more tokens? Upgrade at /settings/billing", "tokens", None, "rate_limit_exceeded"), limit(2.0)),
    ("groq too large", 413, {}, openai("Request too large for model m on tokens per minute (TPM): Limit 6000, Requested 7000", "tokens", None, "rate_limit_exceeded"), QUESTION),
    ("groq max_tokens", 400, {}, openai("`max_tokens` must be less than or equal to `8`, the maximum value for `max_tokens` is less than the `context_window` for this model", "invalid_request_error", "max_tokens"), setting("max_tokens", 8)),
    ("groq restricted", 400, {}, openai("This organization has been closed.", "invalid_request_error", None, "organization_restricted"), ACCOUNT),
    ("groq flex", 498, {}, openai("Flex tier capacity exceeded", "capacity", None, "capacity_exceeded"), LIMIT),
    ("groq gone", 400, {}, openai("The model `m` has been decommissioned and is no longer supported.", "invalid_request_error", None, "model_decommissioned"), ADDRESS),
    ("together logprobs", 400, {}, openai("20 is greater than the maximum of 1 - 'top_logprobs'", "invalid_request_error", "logprobs"), setting("top_logprobs", 1)),
    ("together length", 422, {}, openai("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000 `inputs` tokens and 16 `max_new_tokens`", "invalid_request_error"), FINAL),
    ("together credit", 402, {}, openai("Credit limit exceeded, see the billing page.", "credit_limit"), ACCOUNT),
    ("together credit, 429", 429, {}, openai("Credit limit exceeded, see the billing page.", "credit_limit"), ACCOUNT),
    ("together rate", 429, {}, openai("You have reached the rate limit specific to this model.", "model_rate_limit"), LIMIT),
    ("fireworks limit", 400, {}, openai("top_logprobs must be less than or equal to 5", "invalid_request_error", None, "invalid_request_error", object="error"), setting("top_logprobs", 5)),
    ("fireworks suspended", 412, {}, openai("Account a is suspended, possibly due to reaching the monthly spending limit.", "error", None, "PRECONDITION_FAILED"), ACCOUNT),
    ("fireworks model", 404, {}, openai("Model not found, inaccessible, and/or not deployed", "error", None, "NOT_FOUND"), ADDRESS),
    ("deepseek credit", 402, {}, openai("Insufficient Balance", "unknown_error", None, "invalid_request_error"), ACCOUNT),
    ("deepseek max_tokens", 400, {}, openai("Invalid max_tokens value, the valid range of max_tokens is [1, 8]", "invalid_request_error", None, "invalid_request_error"), setting("max_tokens", 8)),
    ("deepseek logprobs", 400, {}, {"detail": "Invalid top_logprobs and logprobs value"}, setting("top_logprobs")),
    ("deepseek model", 400, {}, openai("Model Not Exist", "invalid_request_error", None, "invalid_request_error"), ADDRESS),
    ("xai argument", 400, {}, {"code": "Client specified an invalid argument", "error": "Argument not supported on this model: logprobs"}, setting("logprobs")),
    ("xai camel", 400, {}, {"code": "Client specified an invalid argument", "error": "Model m does not support parameter reasoningEffort."}, setting("reasoning_effort")),
    ("xai key", 400, {}, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***. You can obtain one from the console."}, ACCOUNT),
    ("xai credit", 429, {}, {"code": "Some resource has been exhausted", "error": "Your team has either used all available credits or reached its monthly spending limit."}, ACCOUNT),
    ("xai no credit, 403", 403, {}, {"code": "The caller does not have permission", "error": "Your newly created team doesn't have any credits yet."}, ACCOUNT),
    ("xai route", 404, {}, {"code": "Some requested entity was not found", "error": "No handler found on route."}, ADDRESS),
    ("xai prompt", 400, {}, {"code": "Client specified an invalid argument", "error": "This model's maximum prompt length is 131072 but the request contains 140000 tokens."}, FINAL),
    ("openrouter credit", 402, {}, {"error": {"message": "This request requires more credits, or fewer max_tokens. You requested up to 16 tokens.", "code": 402}}, ACCOUNT),
    ("openrouter flagged", 403, {}, {"error": {"code": 403, "message": "Input was refused", "metadata": {"reasons": ["violence"], "flagged_input": "seed is not supported"}}}, FINAL),
    ("openrouter raw", 400, {}, {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": json.dumps(openai("Unsupported parameter: 'seed'", "invalid_request_error", "seed")), "provider_name": "P"}}}, setting("seed")),
    ("openrouter upstream", 429, {}, {"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": "m is temporarily rate-limited upstream. Please retry shortly."}}}, limit(None)),
    ("openrouter free day", 429, {"X-RateLimit-Reset": "1700000060000", "X-RateLimit-Remaining": "0"}, {"error": {"message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock more", "code": 429}}, limit(60.0)),
    ("openrouter endpoints", 404, {}, {"error": {"message": "No endpoints found for m.", "code": 404}}, ADDRESS),
    ("openrouter key", 403, {}, {"error": {"message": "Key limit exceeded (total limit).", "code": 403}}, ACCOUNT),
    ("cohere key", 401, {}, {"message": "invalid api token"}, ACCOUNT),
    ("cohere trial", 429, {}, {"message": "You are using a Trial key, which is limited to 10 API calls / minute."}, limit(None)),
    ("cohere tokens", 400, {}, {"message": "too many tokens: size limit exceeded by 100 tokens. Try using shorter or fewer inputs."}, FINAL),
    ("cohere unsafe", 498, {}, {"message": "The request was blocked: it goes against the Usage Guidelines."}, FINAL),
    ("cohere model", 404, {}, {"message": "model 'm' not found, make sure the correct model ID was used"}, ADDRESS),
    # --- Hugging Face: router and TGI ---
    ("hf credit", 402, {}, {"error": "You have exceeded your monthly included credits for Inference Providers."}, ACCOUNT),
    ("hf loading", 503, {}, {"error": "Model m is currently loading", "estimated_time": 20.0}, limit(20.0)),
    ("hf model", 400, {}, openai("The requested model 'm' does not exist", "invalid_request_error", "model", "model_not_found"), ADDRESS),
    ("tgi top_p", 422, {}, {"error": "Input validation error: `top_p` must be > 0.0 and < 1.0", "error_type": "validation"}, setting("top_p")),
    ("tgi top_n", 422, {}, {"error": "Input validation error: `top_n_tokens` must be >= 0 and <= 5. Given: 20", "error_type": "validation"}, setting("top_logprobs", 5)),
    ("tgi length", 422, {}, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 2100 `inputs` tokens and 16 `max_new_tokens`", "error_type": "validation"}, FINAL),
    ("tgi overloaded", 429, {}, {"error": "Model is overloaded", "error_type": "overloaded"}, LIMIT),
    ("tgi generation", 424, {}, {"error": "Request failed during generation", "error_type": "generation"}, SERVER),
    # --- DashScope, Zhipu, Moonshot, MiniMax, Volcengine ---
    ("dashscope arrears", 400, {}, openai("Access denied, please make sure your account is in good standing.", "Arrearage", None, "Arrearage"), ACCOUNT),
    ("dashscope minute", 429, {}, openai("Allocated quota exceeded, please increase your quota limit.", "insufficient_quota", None, "insufficient_quota"), LIMIT),
    ("dashscope minute, OpenAI's words", 429, {}, openai(NO_CREDIT + " For details, see: https://help.aliyun.com/error-code#token-limit", "insufficient_quota", None, "insufficient_quota"), LIMIT),
    ("dashscope free quota, 429", 429, {}, openai("Free allocated quota exceeded. See https://help.aliyun.com/", "Throttling.AllocationQuota", None, "Throttling.AllocationQuota"), ACCOUNT),
    ("dashscope free quota", 403, {}, openai("The free tier of the model has been exhausted.", "AllocationQuota.FreeTierOnly", None, "AllocationQuota.FreeTierOnly"), ACCOUNT),
    ("dashscope plan", 400, {}, openai("model 'm' is not supported", "invalid_request_error"), ADDRESS),
    ("dashscope requests", 429, {}, openai("You have exceeded your current request limit.", "limit_requests", None, "limit_requests"), LIMIT),
    ("dashscope inspection", 400, {}, openai("Input data may contain something.", "data_inspection_failed", None, "data_inspection_failed"), FINAL),
    ("dashscope inspection, own shape", 400, {}, {"code": "DataInspectionFailed", "message": "Input.", "request_id": "r"}, FINAL),
    ("dashscope range", 400, {}, openai("<400> InternalError.Algo.InvalidParameter: Range of top_logprobs should be [0, 5]", "invalid_request_error", None, "invalid_parameter_error"), setting("top_logprobs", 5)),
    ("dashscope length", 400, {}, openai("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]", "invalid_request_error", None, "invalid_parameter_error"), FINAL),
    ("dashscope temperature", 400, {}, openai("Temperature should be in [0.0, 2.0)", "invalid_request_error", None, "invalid_parameter_error"), setting("temperature")),
    ("zhipu balance", 429, {}, {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}, ACCOUNT),
    ("zhipu key", 400, {}, {"error": {"code": "1002", "message": "Authorization Token非法"}}, ACCOUNT),
    ("zhipu rate in a 400", 400, {}, {"error": {"code": "1302", "message": "您的账户已达到速率限制"}}, LIMIT),
    ("zhipu rate", 429, {}, {"error": {"code": "1302", "message": "您的账户已达到速率限制"}}, LIMIT),
    ("zhipu sensitive", 400, {}, {"contentFilter": [{"level": 1, "role": "user"}], "error": {"code": "1301", "message": "系统检测到内容"}}, FINAL),
    ("zhipu prompt", 400, {}, {"error": {"code": "1261", "message": "Prompt 超长"}}, FINAL),
    ("zhipu model", 400, {}, {"error": {"code": "1211", "message": "模型不存在"}}, ADDRESS),
    ("moonshot balance", 429, {}, {"error": {"message": "Your account a is suspended, please check your plan.", "type": "exceeded_current_quota_error"}}, ACCOUNT),
    ("moonshot engine", 429, {}, {"error": {"message": "The engine is currently overloaded", "type": "engine_overloaded_error"}}, LIMIT),
    ("moonshot temperature", 400, {}, {"error": {"message": "invalid temperature: only 1 is allowed for this model", "type": "invalid_request_error"}}, setting("temperature")),
    ("moonshot risk", 400, {}, {"error": {"message": "The request was rejected because it was considered high risk", "type": "content_filter"}}, FINAL),
    ("moonshot length", 400, {}, {"error": {"message": "Invalid request: Your request exceeded model token limit: 8192", "type": "invalid_request_error"}}, FINAL),
    ("minimax balance", 500, {}, {"type": "error", "error": {"type": "api_error", "message": "insufficient balance (1008)"}}, ACCOUNT),
    ("minimax balance, 429", 429, {}, {"error": {"http_code": "429", "message": "no (1008)", "type": "insufficient_balance_error"}}, ACCOUNT),
    ("volcengine overdue", 403, {}, openai("The account has an overdue balance", "Forbidden", None, "AccountOverdueError"), ACCOUNT),
    # --- servers of one's own ---
    ("vllm context", 400, {}, flat("This model's maximum context length is 2048 tokens. However, you requested 2116 tokens (2100 in the messages, 16 in the completion). Please reduce the length of the messages or completion."), FINAL),
    ("vllm context, param", 400, {}, openai("This model's maximum context length is 2048 tokens. However, your request has 2100 input tokens plus 16 'max_tokens'. (parameter=input_tokens, max_tokens, value=(2100, 16))", "BadRequestError", "input_tokens, max_tokens", 400), FINAL),
    ("vllm context, old", 400, {}, flat("max_tokens must be at least 1, got -186."), FINAL),
    ("vllm logprobs", 400, {}, flat("Requested sample logprobs of 20, which is greater than max allowed: 5"), setting("top_logprobs", 5)),
    ("vllm loc in a text", 400, {}, flat("[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted', 'input': 3}]"), setting("seed")),
    ("vllm top_k", 400, {}, flat("top_k must be -1 (disable), or at least 1, got 0."), setting("top_k")),
    ("vllm no logprobs", 400, {}, openai("This backend doesn't support logprobs. Please remove 'logprobs'/'top_logprobs' from your request.", "BadRequestError", None, 400), setting("logprobs")),
    ("prompt and max_tokens", 400, {}, flat("max_tokens is too large: 16, as the prompt has 8,190 tokens and the model's limit is 8,192 tokens"), FINAL),
    ("vllm model", 404, {}, openai("The model `m` does not exist.", "NotFoundError", "model", 404), ADDRESS),
    ("vllm key", 401, {}, {"error": "Unauthorized"}, ACCOUNT),
    ("vllm dead", 500, {}, openai("EngineCore encountered an issue.", "InternalServerError", None, 500), SERVER),
    ("sglang context", 400, {}, flat("The input (5000 tokens) is longer than the model's context length (4096 tokens)."), FINAL),
    ("lmdeploy model", 404, {}, flat("The model 'm' does not exist.", "invalid_request_error", None, 404), ADDRESS),
    ("tensorrt logprobs", 400, {}, flat("top_logprobs is not supported by this backend"), setting("top_logprobs")),
    ("llama-server context", 400, {}, {"error": {"code": 400, "message": "request (4390 tokens) exceeds the available context size (4096 tokens)", "type": "exceed_context_size_error", "n_prompt_tokens": 4390, "n_ctx": 4096}}, FINAL),
    ("llama-server loading", 503, {}, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, SERVER),
    ("llama-server context, late", 500, {}, {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}}, QUESTION),
    ("llama-server key", 401, {}, {"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}}, ACCOUNT),
    ("llama-cpp-python logprobs", 500, {}, openai("logprobs is not supported for models created with logits_all=False", "internal_server_error"), setting("logprobs")),
    ("llama-cpp-python context", 400, {}, openai("This model's maximum context length is 2048 tokens. However, you requested 2100 tokens.", "invalid_request_error", "messages", "context_length_exceeded"), FINAL),
    ("ollama model", 404, {}, openai("model 'm' not found", "not_found_error"), ADDRESS),
    ("ollama busy", 503, {}, openai("server busy, please try again. maximum pending requests exceeded", "api_error"), SERVER),
    ("lm studio context", 400, {}, {"error": "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens."}, FINAL),
    ("lm studio model", 404, {}, openai("No models loaded. Please load one.", "invalid_request_error", "model", "model_not_found"), ADDRESS),
    ("litellm context", 400, {}, openai("litellm.ContextWindowExceededError: litellm.BadRequestError: HostedException - too much", None, None, "400"), FINAL),
    ("litellm budget", 400, {}, openai("Budget has been exceeded! Current cost: 2.0, Max budget: 1.0", "budget_exceeded", None, "400"), ACCOUNT),
    ("litellm deployments", 429, {}, openai("No deployments available for selected model, Try again in 60 seconds.", "None", "None", "429"), limit(60.0)),
    ("litellm quoting gemini", 429, {}, openai('litellm.RateLimitError: VertexException - {"error": {"code": 429, "message": "You exceeded your current quota, please check your plan and billing details.", "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "5s"}]}}', "throttling_error", None, "429"), limit(5.0)),
    ("litellm key", 401, {}, openai("Authentication Error, Invalid proxy server token passed", "auth_error", "None", "401"), ACCOUNT),
    ("transformers serve", 422, {}, {"detail": "Unexpected keys in the request: {'top_k'}"}, setting("top_k")),
    ("fastapi limit", 422, {}, detail("top_logprobs", msg="Input should be less than or equal to 5", type="less_than_equal", ctx={"le": 5}), setting("top_logprobs", 5)),
    ("fastapi limit, lt", 422, {}, detail("top_logprobs", msg="Input is bad", type="less_than", ctx={"lt": 6}), setting("top_logprobs", 5)),
    ("fastapi template", 422, {}, detail("chat_template_kwargs", "enable_thinking"), setting("chat_template_kwargs")),
    ("fastapi messages", 422, {}, detail("messages", msg="Field required", type="missing"), QUESTION),
    ("pydantic text", 400, {}, openai("1 validation error for Request\nseed\n  Extra inputs are not permitted [type=extra_forbidden, input_value=3]"), setting("seed")),
    ("a gateway's text", 400, {}, {"detail": "Error occurred: Error code: 400 - {'error': {'message': \"Unsupported parameter: 'temperature' is not supported with this model.\", 'param': 'temperature'}}"}, setting("temperature")),
    ("param model alone", 400, {}, openai("No.", "invalid_request_error", "model"), ADDRESS),
    ("output limit", 400, {}, openai("Could not finish the message because max_tokens or model output limit was reached. Please try again with higher max_tokens.", "invalid_request_error"), FINAL),
    ("anthropic both", 400, {}, openai("`temperature` and `top_p` cannot both be specified for this model. Please use only one.", "invalid_request_error"), setting("top_p")),
    ("anthropic thinking", 400, {}, openai("`temperature` may only be set to 1 when thinking is enabled.", "invalid_request_error"), setting("temperature")),
    ("github day", 429, {}, {"error": {"code": "RateLimitReached", "message": "Rate limit of 150 per 86400s exceeded. Please wait 43200 seconds before retrying.", "details": "same"}}, limit(43200.0)),
    ("github model", 400, {}, {"error": {"code": "unknown_model", "message": "Unknown model: m"}}, ADDRESS),
    ("github size", 413, {}, {"error": {"code": "tokens_limit_reached", "message": "Request body too large. Max size: 8000 tokens."}}, FINAL),
    ("azure foundry", 422, {}, {"error": {"code": "Invalid input", "status": 422, "message": "invalid input error", "details": detail("seed")["detail"]}}, setting("seed")),
    ("nim credit", 402, {}, {"status": 402, "title": "Payment Required", "detail": "Cloud credits expired"}, ACCOUNT),
    ("nim setting", 400, {}, {"type": "urn:bad-request", "title": "Bad Request", "status": 400, "detail": "Inference error: logprobs is not supported"}, setting("logprobs")),
    ("cerebras rate", 429, {}, {"message": "Requests per minute limit exceeded.", "type": "too_many_requests_error", "param": "quota", "code": "request_quota_exceeded"}, LIMIT),
    ("cerebras length", 400, {}, {"message": "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}, FINAL),
    ("databricks", 400, {}, {"error_code": "INVALID_PARAMETER_VALUE", "message": "top_logprobs must be at most 5"}, setting("top_logprobs", 5)),
    ("bedrock length", 400, {}, {"message": "Input is too long for requested model."}, FINAL),
    ("tabby", 400, {}, {"detail": {"error": {"message": "Prompt length 9000 is greater than max_seq_len 8192", "trace": None}}}, FINAL),
    ("koboldcpp busy", 503, {}, {"detail": {"msg": "Server is busy; please try again later.", "type": "service_unavailable"}}, SERVER),
    ("one-api quota", 403, {}, openai("用户额度不足", "new_api_error", None, "insufficient_user_quota"), ACCOUNT),
    ("one-api channel", 503, {}, openai("无可用渠道", "new_api_error"), SERVER),
    ("roles", 400, {}, openai("Conversation roles must alternate user/assistant/user/assistant/...", "BadRequestError", None, 400), QUESTION),
    ("template", 400, {}, flat("As of this version the default chat template is no longer allowed, so you must provide one."), QUESTION),
    ("two resets", 429, {"x-ratelimit-reset-requests": "8h0m0s", "x-ratelimit-remaining-requests": "90", "x-ratelimit-reset-tokens": "59s", "x-ratelimit-remaining-tokens": "5"}, openai("Slow down"), limit(59.0)),
    ("another gateway's text", 400, {}, {"detail": "Error code: 400 - {'error': {'message': 'Unsupported parameter: temperature is not supported with this model at all.'}}"}, setting("temperature")),
    # --- whatever stands between ---
    ("nginx 502", 502, {}, nginx("502 Bad Gateway"), SERVER),
    ("nginx 413", 413, {}, nginx("413 Request Entity Too Large"), FINAL),
    ("nginx 404", 404, {}, nginx("404 Not Found"), ADDRESS),
    ("nginx https", 400, {}, nginx("400 The plain HTTP request was sent to HTTPS port"), ADDRESS),
    ("nginx 429", 429, {}, nginx("429 Too Many Requests"), LIMIT),
    ("cloudflare 524", 524, {}, b"<!DOCTYPE html><html><head><title>h | 524: A timeout occurred</title></head></html>", SERVER),
    ("cloudflare code", 522, {}, b"error code: 522", SERVER),
    ("a gateway's limit", 403, {}, {"message": "API rate limit exceeded"}, LIMIT),
    ("aws throttled", 400, {}, {"__type": "ThrottlingException", "message": "Rate exceeded"}, LIMIT),
    ("aws forbidden", 403, {}, {"Message": "Forbidden"}, ACCOUNT),
    ("redirect", 301, {"Location": "https://h/v1/"}, b"", ADDRESS),
    ("method", 405, {}, {"detail": "Method Not Allowed"}, ADDRESS),
    ("timeout", 408, {}, b"", SERVER),
    ("conflict", 409, {}, b"", SERVER),
    ("too early", 425, {}, b"", SERVER),
    ("problem", 422, {}, {"type": "about:blank", "title": "Unprocessable", "detail": "seed is not supported", "status": 422}, setting("seed")),
    ("errors", 400, {}, {"success": False, "errors": [{"code": 7009, "message": "top_p is not a valid option"}]}, setting("top_p")),
    ("errors as texts", 400, {}, {"errors": ["unknown field top_p"]}, setting("top_p")),
    ("a JSON text", 400, {}, b'"seed is not supported"', setting("seed")),
    ("a plain text", 400, {}, b"logprobs are not available", setting("logprobs")),
    ("empty", 400, {}, b"", QUESTION),
    ("no UTF-8", 500, {}, b"\xff\xfe\x00\x80oops", SERVER),
    ("gzip", 400, {}, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\x00", QUESTION),
    ("a date", 429, {"Retry-After": "Tue, 14 Nov 2023 22:14:20 GMT"}, b"", limit(60.0)),
    ("a date gone by", 429, {"Retry-After": "Tue, 14 Nov 2023 22:00:00 GMT"}, b"", limit(0.0)),
    ("no date", 429, {"Retry-After": "soon"}, b"", limit(None)),
    ("a server's wait", 500, {"Retry-After": "3"}, b"", {"kind": "server", "wait": 3.0}),
    ("ietf reset", 429, {"RateLimit-Reset": "9"}, b"", limit(9.0)),
    # --- an empty purse beside words of rate limits ---
    ("purse, code and rate words", 429, {"retry-after": "1"}, openai("Rate limit reached: there is no quota left.", "insufficient_quota", None, "insufficient_quota"), ACCOUNT),
    ("purse, type alone", 429, {}, openai("Rate limit exceeded.", "insufficient_quota"), ACCOUNT),
    ("purse, words beside a rate's code", 429, {}, openai("You have run out of credits. Rate limit: 0 requests.", "rate_limit_error"), ACCOUNT),
    ("purse, 402", 402, {"retry-after": "1"}, openai("Rate limit of the free tier exceeded", None, None, "rate_limit_exceeded"), ACCOUNT),
    ("purse, within a 200's code", 429, {}, openai("Too many requests", None, None, "402"), LIMIT),
    ("rate, and where more is sold", 429, {}, openai("Rate limit reached. Buy credits for more.", "rate_limit_error"), LIMIT),
    # --- policies beside words of money and of models ---
    ("policy, credits", 400, {}, openai("Your input violates our usage policy on fraud: it speaks of people out of credits"), FINAL),
    ("policy, payment", 400, {}, openai("Stopped by a guardrail: payment required is a phrase of phishing"), FINAL),
    ("policy, 403", 403, {}, openai("Moderation: flagged. It is on an account that was suspended."), FINAL),
    ("policy, 405", 405, {}, {"message": "content policy violation"}, FINAL),
    ("prompt about money", 400, {}, openai("The prompt mentions an insufficient balance."), QUESTION),
    ("prompt about a model", 400, {}, openai("input contains an unknown model name token"), QUESTION),
    ("prompt about keys, 403", 403, {}, openai("Your text contains an invalid api key."), QUESTION),
    ("prompt, and the code says money", 400, {}, openai("The prompt mentions something flagged.", None, None, "insufficient_quota"), ACCOUNT),
    ("prompt, and the code says model", 404, {}, openai("The prompt contains no model that is known.", None, "model", "model_not_found"), ADDRESS),
    ("account closed for a policy", 403, {}, openai("Your account has been suspended for violations of our usage policies."), ACCOUNT),
    ("a model of moderation", 404, {}, openai("Model m-moderation not found"), ADDRESS),
    # --- a setting that is named, in any words ---
    ("named, disabled", 400, {}, openai("This model's logprobs are disabled by the administrator"), setting("logprobs")),
    ("named, off", 400, {}, openai("logprobs: turned off here"), setting("logprobs")),
    ("named, flag", 400, {}, openai("Logprobs requires that the server was started with --enable-logprobs"), setting("logprobs")),
    ("named, cannot", 400, {}, openai("cannot compute logprobs: logits_all=False"), setting("logprobs")),
    ("named, offer", 422, {}, openai("We don't offer logprobs."), setting("logprobs")),
    ("named, remove", 400, {}, openai("Please remove logprobs."), setting("logprobs")),
    ("named, type", 400, {}, openai("Expected integer for logprobs, got boolean"), setting("logprobs")),
    ("named, German", 400, {}, {"title": "Bad Request", "detail": "Die Option logprobs wird nicht unterstützt."}, setting("logprobs")),
    ("named, Chinese", 400, {}, openai("不支持参数 logprobs"), setting("logprobs")),
    ("named, Chinese, a word of ours", 400, {}, openai("参数 `seed` 无效"), setting("seed")),
    ("named, 404", 404, {}, openai("No endpoints found for these parameters: logprobs", None, None, 404), setting("logprobs")),
    ("named, 405", 405, {}, openai("logprobs not supported"), setting("logprobs")),
    ("named, 409", 409, {}, openai("logprobs are not supported"), setting("logprobs")),
    ("named, camel", 400, {}, openai("kein maxOutputTokens"), setting("max_tokens")),
    ("named, bad", 400, {}, openai("bad seed"), setting("seed")),
    ("named, effort", 400, {}, openai("reasoning_effort 'low' is not one of: minimal, high"), setting("reasoning_effort")),
    ("named, has to be", 400, {}, openai("`temperature` (=0.0) has to be a positive float"), setting("temperature")),
    ("named, only", 400, {}, openai("Only temperature=1 is allowed for this model"), setting("temperature")),
    ("named, path", 400, {}, {"errors": [{"path": "logprobs", "message": "unexpected property"}]}, setting("logprobs")),
    ("named, path as a list", 400, {}, {"errors": [{"path": ["seed"], "message": "not expected"}]}, setting("seed")),
    ("named, instancePath", 400, {}, {"errors": [{"instancePath": "/top_p", "message": "is none"}]}, setting("top_p")),
    ("named, property", 422, {}, {"message": "Failed.", "errors": [{"property": "seed", "message": "none"}]}, setting("seed")),
    ("named, name", 422, {}, {"message": [{"name": "temperature", "reason": "none"}]}, setting("temperature")),
    ("named, keys", 400, {}, {"issues": [{"code": "unrecognized_keys", "keys": ["seed"], "path": [], "message": "Not known."}]}, setting("seed")),
    ("named, as a key", 422, {}, {"errors": {"seed": ["is not allowed"]}}, setting("seed")),
    ("named, as a key of the body", 400, {}, {"temperature": ["Unknown field."]}, setting("temperature")),
    ("named, problem", 422, {}, {"title": "Bad", "invalid-params": [{"name": "seed", "reason": "not allowed"}]}, setting("seed")),
    ("a list of the prompt", 400, {}, {"errors": {"messages": ["seed is not supported"]}}, QUESTION),
    ("a prompt above a limit", 400, {}, openai("The prompt exceeds what is left beside max_tokens"), FINAL),
    ("a URL's path", 404, {}, {"status": 404, "error": "Not Found", "path": "/v1/seed/completions"}, ADDRESS),
    ("an error's name", 400, {}, {"name": "BadRequestError", "message": "No."}, QUESTION),
    ("named, and the model is unknown", 404, {}, openai("The model m does not exist; top_logprobs was 20."), ADDRESS),
    ("named, and there is no credit", 400, {}, openai("Your credit balance is too low: max_tokens is 16."), ACCOUNT),
    ("named, and it is too long", 400, {}, openai("The sum of prompt tokens and max_tokens is above 4096"), FINAL),
    ("named, 500", 500, {}, openai("Traceback: sampler.py, line 3, in logprobs"), SERVER),
    ("named, 503", 503, {}, openai("logprobs is not supported"), SERVER),
    ("vertex range", 400, {}, openai("It has a logprobs value of 20 but the supported range is from 1 (inclusive) to 6 (exclusive)."), setting("top_logprobs", 5)),
    ("vertex range, inclusive", 400, {}, openai("It has a logprobs value of 20 but the supported range is from 1 (inclusive) to 6 (inclusive)."), setting("top_logprobs", 6)),
    ("vertex temperature", 400, {}, openai("It has a temperature value of 0 but the supported range is from 1 (inclusive) to 2 (inclusive)."), setting("temperature")),
    ("vertex tokens", 400, {}, openai("It has a maxOutputTokens value of 16 but the supported range is from 1 (inclusive) to 9 (exclusive)."), setting("max_tokens", 8)),
]  # fmt: skip


@pytest.mark.parametrize(("status", "headers", "body", "expected"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_what_servers_mean(status: int, headers: dict[str, str], body: Any, expected: dict[str, Any]) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fault = fault_of(status, headers, raw, SENT, NOW)
    wanted = {"final": False, "setting": None, "most": None, **expected}
    got = fault._asdict()
    if got["wait"] is not None:
        got["wait"] = round(got["wait"], 6)
    assert {name: got[name] for name in wanted} == wanted, fault
    assert 0 < len(fault.words) <= 300


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_was_not_sent_is_no_setting(row: Any) -> None:
    _, status, headers, body, _ = row
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert fault_of(status, headers, raw, {}, NOW).kind != "setting"


@pytest.mark.parametrize(
    ("name", "sent", "message", "most"),
    [
        ("max_completion_tokens", {"max_completion_tokens": 9000}, "max_tokens is too large: 9000. This model supports at most 4096 completion tokens, whereas you provided 9000.", 4096),
        ("max_tokens", {"max_tokens": 300000}, "max_tokens: 300000 > 8192, which is the maximum allowed number of output tokens for m", 8192),
        ("max_tokens", {"max_tokens": 9000}, "max_tokens must be at most 8192", 8192),
        ("max_tokens", {"max_tokens": 9000}, "max_tokens exceeds the token limit: at most 4096 output tokens allowed", 4096),
        ("top_logprobs", {"logprobs": True, "top_logprobs": 20}, "top_logprobs must be between 0 and 5", 5),
        ("top_logprobs", {"logprobs": True, "top_logprobs": 20}, "logprobs must be ≤ 5", 5),
        ("top_logprobs", {"logprobs": True, "top_logprobs": 20}, "The value of topLogprobs is 20 and may not exceed 11.", 11),
        ("top_logprobs", {"logprobs": True, "top_logprobs": 4}, "top_logprobs must be between 0 and 5", None),
        ("logprobs", {"logprobs": True, "top_logprobs": 20}, "log probabilities are not available", None),
        ("logprobs", {"logprobs": True, "top_logprobs": 20}, "This endpoint doesn’t support log probabilities.", None),
        ("temperature", {"temperature": 3.0}, "temperature must be less than or equal to 2", 2),
        ("temperature", {"temperature": 0.0}, "'temperature' must be greater than 0.0", None),
        ("seed", {"seed": 5}, "got an unexpected keyword argument 'seed'", None),
        ("min_p", {"min_p": 0}, "Unrecognized field: min_p", None),
        ("a.b", {"a.b": 1}, "unknown key `a.b`", None),
        ("max_tokens", {"max_tokens": 9000}, "max_tokens must be at most 8,192 tokens.", 8192),
        *(
            ("top_logprobs", {"logprobs": True, "top_logprobs": 20}, words, 5)
            for words in (
                "top_logprobs must be less than 6",
                "top_logprobs must be < 6",
                "top_logprobs must be in [0, 6)",
                "top_logprobs (maximum 5)",
                "Field top_logprobs: ensure this value is less than or equal to 5",
                "Only up to 5 logprobs are supported",
                "logprobs is limited to 5",
                "no more than 5 top_logprobs may be requested",
                "20 is greater than the maximum of 5 - 'top_logprobs'",
                "The maximum number of top_logprobs is 5",
                "maximum top_logprobs: 5",
                "Max logprobs allowed is 5",
                "logprobs (20) exceeds maximum allowed (5)",
                "top_logprobs: must be one of 1, 2, 3, 4, 5",
                "Value 20 for logprobs out of range 0-5",
                "top_logprobs: expected 0-5",
                "top_logprobs: [0, 1, 2, 3, 4, 5]",
                "top_logprobs must be in range(0, 6)",
                "top_logprobs not in [0..5]",
                "top_logprobs may be 5 at the most",
                "top_logprobs: 20 is not less or equal to 5",
                "top_logprobs=20 is above max_logprobs=5",
                "top_logprobs 最大为 5",
                "top_logprobs 不能超过5",
                "top_logprobs 必须小于 6",
            )
        ),
        ("max_tokens", {"max_tokens": 16}, "max_tokens must not be less than 64", None),
        ("max_tokens", {"max_tokens": 9000}, "max_tokens=9000 cannot be greater than max_model_len=4096.", 4096),
        ("top_logprobs", {"top_logprobs": 20}, "Bad top_logprobs (with max_tokens=16)", None),
        ("temperature", {"temperature": 0.0}, "For this model temperature is fixed at 1", None),
        ("temperature", {"temperature": 0.0}, "该模型不支持 temperature", None),
        ("temperature", {"temperature": 0.0}, "temperature не поддерживается", None),
        ("temperature", {"temperature": 0.0}, "El parámetro temperature no es válido", None),
        ("seed", {"seed": 1}, "不支持seed参数", None),
        ("user", {"user": "u"}, "Unknown parameter: 'user'", None),
        ("user", {"user": "u"}, "unsupported parameter user", None),
        ("stop", {"stop": ["."]}, "`stop` is not supported", None),
        ("(x", {"(x": 1}, "(x is not supported", None),
    ],
)  # fmt: skip
def test_how_much_of_a_setting_is_taken(name: str, sent: dict[str, Any], message: str, most: int | None) -> None:
    fault = fault_of(400, {}, json.dumps(openai(message)).encode(), sent, NOW)
    assert (fault.kind, fault.setting, fault.most) == ("setting", name, most)


@pytest.mark.parametrize(
    "message",
    [
        "The temperature of the discussion is too high.",
        "seeded models are not supported",
        "the ocean's temperature.",
        "Bad request. seed",
        "An unknown error occurred.",
        "Invalid content of the user message.",
        "Cannot stop: not supported.",
        "Invalid value for content: n must be a text.",
        "The answer has no temperature; it is not supported by evidence.",
    ],
)
def test_a_word_is_no_setting(message: str) -> None:
    sent = {**SENT, "user": "u", "stop": ["."], "n": 1}
    assert fault_of(400, {}, json.dumps(openai(message)).encode(), sent, NOW).kind == "question"


def test_what_programs_write_comes_before_words() -> None:
    words = "The context window was flagged: your credit balance is too low, logprobs are not supported."
    body = json.dumps(openai(words, "invalid_request_error", "seed", "unsupported_parameter")).encode()
    assert fault_of(400, {}, body, SENT, NOW)[3] == "seed"
    body = json.dumps(openai(words, "invalid_request_error", "messages", "context_length_exceeded")).encode()
    assert fault_of(400, {}, body, SENT, NOW)[:3:2] == ("question", True)
    for tokens in (4000, 9000):
        message = (
            f"max_tokens is too large: {tokens}. The maximum context length is 8192 tokens and you sent 7000 tokens"
        )
        fault = fault_of(400, {}, json.dumps(openai(message)).encode(), {"max_tokens": tokens}, NOW)
        assert (fault.kind, fault.final) == ("question", True)


@pytest.mark.parametrize(
    "quoting",
    [
        "Cannot parse the message '{}' in the request",
        "Invalid message: {}",
        'bad role for "{}"',
        "Template error: `{}`",
    ],
)
@pytest.mark.parametrize(
    "prompt",
    [
        "Is it true that the parameter seed is not supported and temperature must be 1?",
        "Why does logprobs say: context length exceeded, and my API key is invalid?",
        "What does it mean that the prompt was flagged by moderation for insufficient balance",
    ],
)
def test_what_is_quoted_of_the_question_decides_nothing(quoting: str, prompt: str) -> None:
    sent = {**SENT, "messages": [{"role": "user", "content": f"Hello.\n{prompt}"}]}
    body = json.dumps(openai(quoting.format(prompt), "invalid_request_error")).encode()
    assert fault_of(400, {}, body, sent, NOW)[:3] == ("question", quoting.format(prompt), False)
    body = json.dumps({"detail": [{"loc": ["body", "messages"], "msg": "is wrong", "input": prompt}]}).encode()
    assert fault_of(422, {}, body, SENT, NOW)[:3] == ("question", "messages: is wrong", False)


TALK = (
    "Request:\nHow do I fix an insufficient balance error? It says\nyour account has been suspended and the model does not "
    'exist; temperature is not supported, I have an invalid api key and hit "too many requests"!\n\nResponse 1:\n'
    "logprobs are not supported. 我的账户余额不足,请充值 now."
)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 422])
@pytest.mark.parametrize(
    "message",
    [
        "Invalid prompt: How do I fix an insufficient balance err...",
        "Near: ...ow do I fix an insufficient balance error? It says...",
        r"Cannot read: Request:\nHow do I fix an insufficient balance error? It says\nyour account has been suspended",
        "input_value='How do I fix an insuffici...been suspended and the model does not exist; temperature is not su'",
        "Rejected (holds: temperature is not supp...)",
        "Excerpt: it says  your ACCOUNT has been suspended and the model does not exi",
        "HOW DO I FIX AN INSUFFICIENT BALANCE ERROR?",
        "text: &quot;How do I fix an insufficient balance error?&quot;",
        r"[{'content': 'hit \"too many requests\"!\n\nResponse 1:\nlogprobs are not supported'}]",
        r"\u6211\u7684\u8d26\u6237\u4f59\u989d\u4e0d\u8db3",
        "我的账户余额不足",
        "refused: I have an invalid api key",
        "It says your account has been suspended -- so an api key not valid and a model that does not exist",
    ],
)
def test_a_quotation_is_known_however_it_is_written(message: str, status: int) -> None:
    sent = {**SENT, "messages": [{"role": "system", "content": "Judge."}, {"role": "user", "content": TALK}]}
    body = json.dumps(openai(message)).encode()
    assert fault_of(status, {}, body, sent, NOW)[:3:2] == ("question", False)
    other = {**SENT, "messages": [{"role": "user", "content": "Is rain wet?"}]}
    assert fault_of(status, {}, body, other, NOW)[:3:2] != ("question", True)


@pytest.mark.parametrize("status", [400, 403, 404, 422])
@pytest.mark.parametrize("written", [json.dumps, repr, str, lambda body: json.dumps(json.dumps(body))])
def test_a_body_of_ours_that_comes_back_refuses_nothing(written: Any, status: int) -> None:
    sent = {**SENT, "messages": [{"role": "user", "content": TALK}]}
    for message in ("Cannot process {}", "{} is invalid", "Unknown error at {}. Not supported"):
        body = json.dumps(openai(message.format(written({"model": "m", **sent})))).encode()
        assert fault_of(status, {}, body, sent, NOW).kind == "question"


def test_what_programs_write_beside_a_quotation_decides() -> None:
    sent = {**SENT, "messages": [{"role": "user", "content": TALK}]}
    quotation = "It says your account has been suspended and the model does not exist"
    for code, param, kind in (
        ("insufficient_quota", None, "account"),
        ("invalid_api_key", None, "account"),
        ("model_not_found", "model", "address"),
        ("unsupported_parameter", "seed", "setting"),
        ("content_filter", None, "question"),
    ):
        body = json.dumps(openai(quotation, "invalid_request_error", param, code)).encode()
        assert fault_of(400, {}, body, sent, NOW).kind == kind, code
    assert fault_of(401, {}, json.dumps(openai(quotation)).encode(), sent, NOW).kind == "account"


def test_a_short_phrase_of_the_question_decides_nothing() -> None:
    sent = {
        **SENT,
        "messages": [{"role": "user", "content": "Explain: out of credits, unknown model, seed=, logprobs"}],
    }
    for words in ("out of credits", "unknown model", "'seed'", "logprobs"):
        body = json.dumps(openai(f"Refused: {words}")).encode()
        assert fault_of(400, {}, body, sent, NOW).kind == "question", words
        assert fault_of(400, {}, body, SENT, NOW).kind != "question", words


def test_a_server_that_falls_over_a_question_says_nothing_about_others() -> None:
    sent = {**SENT, "messages": [{"role": "user", "content": TALK}]}
    message = "Error while tokenizing: 'temperature is not supported' stands in the prompt; insufficient balance"
    for status in (500, 501, 502, 503):
        body = json.dumps(openai(message)).encode()
        assert fault_of(status, {}, body, sent, NOW).kind == "server", status
    assert fault_of(500, {}, json.dumps(openai("temperature is not supported")).encode(), SENT, NOW).kind == "setting"


TROUBLE = st.sampled_from(
    [
        *("insufficient balance", "out of credits", "payment required", "invalid api key", "rate limit", "余额不足"),
        *("your account has been suspended", "quota exceeded", "FooPerDayPerBar", "too many requests"),
        *("temperature is not supported", "logprobs", "seed", "'top_p'", "max_tokens must be at most 8"),
        *("unknown model", "model m not found", "the model", "does not exist"),
        *("is", "not", "supported", "a", "\n", '"', ". ", "; "),
    ]
)
QUOTINGS = (str, lambda text: json.dumps(text)[1:-1], lambda text: repr(text)[1:-1], html.escape, str.upper, str.title)


@settings(max_examples=500, deadline=None)
@given(
    question=st.lists(TROUBLE | st.text(max_size=8), min_size=1, max_size=12).map(" ".join),
    cut=st.tuples(st.integers(0, 150), st.integers(1, 150)),
    quoting=st.sampled_from(QUOTINGS),
    message=st.sampled_from(
        [
            "This request goes against our content policy: {}",
            "Stopped by the content filter ('...{}...')",
            "'{}' was flagged by moderation.",
        ]
    ),
    status=st.sampled_from([400, 403, 422]),
)
def test_a_policy_that_quotes_is_the_questions(
    question: str, cut: tuple[int, int], quoting: Any, message: str, status: int
) -> None:
    sent = {**SENT, "max_tokens": 900, "messages": [{"role": "user", "content": question}]}
    quotation = quoting(question[cut[0] : sum(cut)])
    body = json.dumps(openai(message.format(quotation), "invalid_request_error")).encode()
    assert fault_of(status, {}, body, sent, NOW).kind == "question"


@settings(max_examples=300, deadline=None)
@given(
    words=st.lists(TROUBLE | st.text(max_size=8), max_size=12).map(" ".join),
    more=st.lists(TROUBLE | st.text(max_size=8), max_size=12).map(" ".join),
    status=st.sampled_from([400, 403, 404, 422, 500]),
)
def test_a_longer_question_ends_no_run_that_a_shorter_one_does_not(words: str, more: str, status: int) -> None:
    """What is the server's own beside a question cannot become so when the question says more."""
    body = json.dumps(openai(words)).encode()

    def own(content: str) -> set[str]:
        heard = listen(words, {"messages": [{"role": "user", "content": content}]})
        return {match.group() for match in heard.own(re.compile(r"\w+"))}

    short, long = (words[:20], f"{words[:20]} {more}")
    assert own(long) <= own(short) | {""}
    check(fault_of(status, {}, body, {**SENT, "messages": [{"role": "user", "content": long}]}, NOW))


@pytest.mark.parametrize("piece", ["a b c d ", "a ", "aa ab ", "余", "\\n", "&quot;", "a\n"])
def test_a_long_question_is_compared_at_once(piece: str) -> None:
    sent = {**SENT, "messages": [{"role": "user", "content": piece * (300_000 // len(piece))}]}
    for message in (piece * 1000, "a b c x " * 500, piece * 50 + "x"):
        start = time.process_time()
        fault_of(400, {}, json.dumps(openai(message)).encode(), sent, NOW)
        assert time.process_time() - start < 5.0  # a square would be hours


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("try again in 20s", 20.0),
        ("Please try again in 6ms.", 0.006),
        ("try again in 1m30.5s", 90.5),
        ("Please retry after 20 seconds.", 20.0),
        ("retry in 2 minutes", 120.0),
        ("Please retry in 45.578569677s.", 45.578569677),
        ("Try again in 1h0m5s", 3605.0),
        ("wait 3 sec", 3.0),
        ("try again later", None),
        ("try again with 20 tokens", None),
    ],
)
def test_a_wait_in_words(words: str, seconds: float | None) -> None:
    assert fault_of(429, {}, words.encode(), SENT, NOW).wait == pytest.approx(seconds)


def test_headers_come_before_words_and_only_numbers_of_use_count() -> None:
    words = b"try again in 20s"
    for value, seconds in (
        ("3", 3.0),
        ("2.5", 2.5),
        ("nan", 20.0),
        ("inf", 20.0),
        ("-5", 20.0),
        ("", 20.0),
        ("9" * 400, 20.0),
    ):
        assert fault_of(429, {"rEtRy-AfTeR": value}, words, SENT, NOW).wait == seconds, value


def test_words_are_one_line_of_text() -> None:
    message = "a\r\nb\x1b[31mc\u202ed\ud800e\x00 \t f"
    fault = fault_of(400, {}, json.dumps(openai(message)).encode(), SENT, NOW)
    assert fault.words == "a b [31mc d e f"
    fault = fault_of(500, {}, ("x y " * 500).encode(), SENT, NOW)
    assert len(fault.words) <= 300
    assert fault.words.endswith(("x...", "y..."))
    assert fault_of(502, {}, nginx("502 Bad Gateway"), SENT, NOW).words == "502 Bad Gateway"
    assert fault_of(502, {}, b"", SENT, NOW).words == "Bad Gateway"
    assert fault_of(599, {}, b"", SENT, NOW).words == "status 599"
    assert (
        fault_of(422, {}, json.dumps(detail("seed")).encode(), SENT, NOW).words
        == "seed: Extra inputs are not permitted"
    )


@pytest.mark.parametrize("before", range(280, 305))
def test_a_key_is_kept_whole_or_left_out(before: int) -> None:
    key = "sk-proj-0123456789abcdefghij_KLMNOP"
    text = ("word " * 100)[: before - 1] + " " + key + " is wrong" * 40
    for body in (text, json.dumps(openai(text)), " " * 2390 + key):
        words = fault_of(400, {}, body.encode(), SENT, NOW).words
        assert key in words or "sk-" not in words


def test_an_error_within_an_answer_is_read_by_the_code_that_it_names() -> None:
    for code, kind in (
        (429, "limit"),
        ("402", "account"),
        (400, "question"),
        (502, "server"),
        (None, "server"),
        (404, "address"),
    ):
        assert fault_in({"error": {"message": "No.", "code": code}}, SENT).kind == kind, code
    assert fault_in({"error": "logprobs is not supported"}, SENT).setting == "logprobs"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**301)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["seed", "logprobs", "\ud800", "seed is not supported", '{"error":', "20s", "x" * 5000, "1e999"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "code",
                    "type",
                    "param",
                    "detail",
                    "loc",
                    "ctx",
                    "le",
                    "details",
                    "retryDelay",
                    "status",
                ]
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
ANY = JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200) | st.just(b"[" * 200_000)
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "retry-after-ms", "x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"]),
    st.text(max_size=20) | st.sampled_from(["Tue, 99 Nov 2023 22:14:20 GMT", "0", "1e9", "9999-12-31T23:59:59Z"]),
)


@settings(max_examples=400, deadline=None)
@given(status=st.integers(-5, 1000), headers=HEADERS, body=ANY, now=st.floats(0, 1e11))
def test_any_body_is_some_fault(status: int, headers: dict[str, str], body: bytes, now: float) -> None:
    check(fault_of(status, headers, body, SENT, now))


@settings(max_examples=100, deadline=None)
@given(value=JSON, sent=st.dictionaries(st.text(max_size=4), JSON, max_size=3))
def test_any_value_is_some_fault(value: Any, sent: dict[str, Any]) -> None:
    fault = fault_in(value, {**sent, "messages": value})
    check(fault)
    assert fault.setting is None or fault.setting in sent


def check(fault: Fault) -> None:
    assert fault.kind in {"question", "setting", "account", "address", "limit", "server"}
    assert 0 < len(fault.words) <= 300
    assert fault.words.isprintable()
    fault.words.encode()
    assert (fault.setting is not None) == (fault.kind == "setting")
    assert not (fault.final and fault.kind != "question")
    assert fault.wait is None or 0 <= fault.wait < 1e12
    assert fault.wait is None or fault.kind in {"limit", "server"}


@pytest.mark.parametrize(
    "piece", ["{", '{"', "'", '"', "<", "not ", "seed ", "max ", "retry ", "1s ", "a", " ", "\\", "["]
)
def test_a_long_body_is_read_at_once(piece: str) -> None:
    for body in (piece * 60_000, json.dumps(openai(piece * 60_000))):
        start = time.process_time()
        fault_of(400, {}, body.encode(), SENT, NOW)
        assert time.process_time() - start < 5.0  # a square would be minutes


def test_a_code_alone_is_shown_as_it_came() -> None:
    """So that a key in its place is known again, and hidden."""
    for code in ("context_length_exceeded", "sk-proj-Zk83hFq2LmNw70Tb"):
        fault = fault_of(400, {}, json.dumps({"error": {"code": code, "message": ""}}).encode(), SENT, NOW)
        assert (fault.kind, fault.words) == ("question", code)
