"""Which models think before they answer, and the tokens that a judge is given for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.judging.settings import JudgeConfig, judge_settings, load_judge, load_rater
from rlaif.models.kinds import ANSWER, MARKED, ROOM, answer_tokens, reasons

URL = "http://localhost:8000/v1"

THINK = """
o1 o1-mini o3 openai/o3-pro o4-mini gpt-5 gpt-5-mini gpt-5-nano-2025-08-07 openai/gpt-5.4-mini gpt-oss-120b
openai/gpt-oss:20b deepseek-r1 deepseek-ai/DeepSeek-R1-Distill-Qwen-7B DeepSeek-R1-0528 deepseek-reasoner
deepseek-ai/DeepSeek-V4-Pro QwQ-32B Qwen/QwQ-32B-Preview Qwen/Qwen3-8B qwen3:8b unsloth/Qwen3-4B-GGUF:Q4_K_M
qwen3-235b-a22b Qwen3-235B-A22B-Thinking-2507 Qwen/Qwen3-Next-80B-A3B-Thinking Qwen/Qwen3.5-397B-A17B
magistral-small-2506 mistralai/Magistral-Medium-2509 grok-3-mini grok-4-0709 grok-4.1-fast grok-4-fast-reasoning
gemini-2.5-pro gemini-2.5-flash google/gemini-3.1-pro gemini-3-pro-preview gemini-flash-latest GLM-4.5 glm-4.5-air
zai-org/GLM-4.6 zai-org-glm-4.7-flash GLM-5 THUDM/GLM-Z1-9B kimi-k2-thinking moonshotai/Kimi-K2.5 MiniMaxAI/MiniMax-M2
MiniMax-M2.5 microsoft/Phi-4-reasoning Phi-4-mini-reasoning phi-4-reasoning-plus LGAI-EXAONE/EXAONE-Deep-32B
allenai/Olmo-3-7B-Think ByteDance-Seed/Seed-OSS-36B-Instruct ernie-x1-turbo baidu/ERNIE-4.5-21B-A3B-Thinking
nvidia/Llama-3_1-Nemotron-Ultra-253B-v1 nvidia/NVIDIA-Nemotron-Nano-9B-v2 anthropic/claude-3.7-sonnet:thinking
hunyuan-t1 tencent/Hunyuan-A13B-Instruct sonar-reasoning-pro HuggingFaceTB/SmolLM3-3B
"""
ANSWER_AT_ONCE = """
gpt-4o gpt-4o-mini gpt-4.1-mini gpt-4-turbo gpt-3.5-turbo chatgpt-4o-latest gpt-5-chat-latest gpt-5.2-chat deepseek-chat
deepseek-v3 deepseek-ai/DeepSeek-V3.1 Qwen/Qwen2.5-7B-Instruct qwen2.5:72b Qwen3-235B-A22B-Instruct-2507
Qwen/Qwen3-4B-Instruct-2507-FP8 Qwen/Qwen3-Next-80B-A3B-Instruct Qwen/Qwen3-Coder-30B-A3B-Instruct
Qwen/Qwen3-VL-8B-Instruct qwen-max meta-llama/Llama-3.3-70B-Instruct llama3:8b llama-4-maverick mistral-large-2411
mixtral-8x7b gemini-2.0-flash gemini-1.5-pro google/gemma-3-27b-it grok-2 grok-3 grok-4-fast-non-reasoning
glm-4-9b-chat GLM-4-32B-0414 kimi-k2 moonshotai/Kimi-K2-Instruct-0905 MiniMax-Text-01 microsoft/phi-4
Phi-4-mini-instruct Olmo-3-7B-Instruct allenai/OLMo-2-7B EXAONE-3.5-7.8B claude-3-5-sonnet claude-sonnet-4-5
command-r-plus nvidia/Llama-3.1-Nemotron-70B-Instruct-HF Skywork-Reward-V2-Qwen3-8B ernie-4.5-turbo m judge phi3 yi-34b
o2 reasonable-judge solar-pro foo1 rlaif:3b
"""


@pytest.mark.parametrize("name", THINK.split())
def test_models_that_think(name: str) -> None:
    assert reasons(name)
    assert reasons(name.upper())


@pytest.mark.parametrize("name", ANSWER_AT_ONCE.split())
def test_models_that_answer_at_once(name: str) -> None:
    assert not reasons(name)


TOLD: list[tuple[str, dict[str, Any], bool]] = [
    ("m", {"reasoning_effort": "low"}, True),
    ("gpt-5", {"reasoning_effort": "minimal"}, False),
    ("gpt-5.2", {"reasoning_effort": "none"}, False),
    ("Qwen/Qwen3-8B", {"chat_template_kwargs": {"enable_thinking": False}}, False),
    ("deepseek-ai/DeepSeek-V3.1", {"chat_template_kwargs": {"thinking": True}}, True),
    ("Qwen/Qwen3-8B", {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}, False),
    ("glm-4.6", {"extra_body": {"thinking": {"type": "disabled"}}}, False),
    ("claude-sonnet-4-5", {"extra_body": {"thinking": {"type": "enabled", "budget_tokens": 2000}}}, True),
    (
        "gemini-2.5-flash",
        {"extra_body": {"google": {"thinking_config": {"thinking_budget": 0}}}},
        False,
    ),
    ("qwen3:8b", {"extra_body": {"think": False}}, False),
    ("anything/new", {"extra_body": {"reasoning": {"enabled": True}}}, True),
    ("anything/new", {"extra_body": {"reasoning": {"effort": "high"}}}, True),
    ("m", {"extra_body": {"top_k": 5, "cache": {"enabled": True}}, "chat_template_kwargs": None}, False),
    ("o3", {"extra_body": {"top_k": 5}}, True),
]


@pytest.mark.parametrize(("name", "told", "thinks"), TOLD)
def test_what_a_model_is_told_wins_over_its_name(name: str, told: dict[str, Any], thinks: bool) -> None:
    assert reasons(name, told) is thinks
    settings = judge_settings({"model": {"name": name, "base_url": URL, **told}})
    assert settings.tokens() == (ROOM if thinks else ANSWER)


@given(st.text(max_size=300))
def test_any_name_has_an_answer(name: str) -> None:
    assert answer_tokens(name) in (ANSWER, ROOM)
    assert answer_tokens(name, marked=True) in (MARKED, ROOM)


def test_a_judge_is_given_room_by_its_kind_and_what_the_user_says_stands() -> None:
    def question(name: str, **more: Any) -> Any:
        return load_judge({"model": {"name": name, "base_url": URL}, **more}).question

    plain, thinks = question("gpt-4.1-mini"), question("Qwen/Qwen3-8B")
    assert (plain.max_tokens, plain.room) == (16, 8192)  # asked once more where it is cut off in a thought
    assert (thinks.max_tokens, thinks.room) == (8192, 8192)
    reasoned = question("gpt-4.1-mini", template="reasoned")
    assert (reasoned.max_tokens, reasoned.room) == (1024, 8192)
    assert question("Qwen/Qwen3-8B", template="reasoned").max_tokens == 8192
    for name in ("gpt-4.1-mini", "Qwen/Qwen3-8B"):
        given = question(name, max_tokens=64)
        assert (given.max_tokens, given.room) == (64, None)
    assert load_rater({"model": {"name": "o3", "base_url": URL}}).question.max_tokens == 8192
    assert judge_settings(JudgeConfig("api", "o3")).row()["max_tokens"] == 8192
    assert judge_settings(JudgeConfig("api", "o3", max_tokens=99)).row()["max_tokens"] == 99
    assert load_judge(JudgeConfig("api", "m", "reasoned")).about["max_tokens"] == 1024
