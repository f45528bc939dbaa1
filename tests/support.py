"""Tiny models with random weights, an OpenAI-compatible server, and the real program, for the tests to use."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SECRET = "sk-very-secret-0123456789"

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def byte_tokenizer(chat: bool, eos: str | None = "</s>") -> Any:
    """256 bytes and three special tokens: any text becomes tokens, and nothing is merged."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    for token in ("<pad>", "<s>", "</s>"):
        vocabulary[token] = len(vocabulary)
    raw = Tokenizer(models.BPE(vocabulary, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token=eos, clean_up_tokenization_spaces=False
    )
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def tiny_llama(seed: int = 0, context: int = 2048) -> Any:
    """A random Llama of 30,000 parameters, its logits spread enough for clear preferences."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=259,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=context,
            initializer_range=0.2,
            pad_token_id=256,
            bos_token_id=257,
            eos_token_id=258,
            tie_word_embeddings=False,
        )
    )
    return model.eval()


def save_model(folder: Path, model: Any, tokenizer: Any) -> Path:
    from rlaif.models.loading import quiet

    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Server:
    """An OpenAI-compatible endpoint in a thread of this process.

    `answer(body, number)` decides each call, `number` counting from 0: a text, a dict that replaces the whole body, or
    (status, message or body, headers), or bytes sent as they are, or None for a dropped connection. `bodies` are the
    calls so far, `headers` what was sent with them, `peak` the most of them at once; each takes `latency` seconds.
    """

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any], int], Any] = lambda body, number: "1"
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.keys: set[str | None] = set()
        self.latency = 0.0
        self.models: dict[str, Any] | None = None  # what GET /models says; None for 404
        self.handler: Callable[[Any], Any] = self._chat
        self.peak = self._now = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(30)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def questions(self) -> list[str]:
        """What was asked, call by call."""
        return [json.dumps(body["messages"]) for body in self.bodies]

    def _serve(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        from aiohttp import web

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=1 << 26)
        app.add_routes([web.post("/v1/chat/completions", self._handle), web.get("/v1/models", self._list)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _list(self, request: Any) -> Any:
        from aiohttp import web

        return web.json_response(self.models, status=200 if self.models else 404)

    async def _handle(self, request: Any) -> Any:
        return await self.handler(request)

    async def _chat(self, request: Any) -> Any:
        from aiohttp import web

        body = await request.json()
        number = len(self.bodies)
        self.bodies.append(body)
        self.headers.append(request.headers)
        self.keys.add(request.headers.get("Authorization"))
        self._now += 1
        self.peak = max(self.peak, self._now)
        try:
            await asyncio.sleep(self.latency)
            answer = self.answer(body, number)
        finally:
            self._now -= 1
        if answer is None:
            request.transport.close()
            return web.Response()
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        if isinstance(answer, tuple):
            status, message, headers = answer
            body = {"error": {"message": message}} if isinstance(message, str) else message
            return web.json_response(body, status=status, headers=headers)
        return web.json_response(completion(answer) if isinstance(answer, str) else answer)

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


def completion(text: str | None, finish: str = "stop", logprobs: Sequence[Any] | None = None) -> dict[str, Any]:
    """A chat completion. `logprobs`: (token, {alternative: log-probability}) for each place."""
    places = None
    if logprobs is not None:
        places = {
            "content": [
                {
                    "token": token,
                    "logprob": listed.get(token, -1.0),
                    "top_logprobs": [{"token": t, "logprob": p} for t, p in listed.items()],
                }
                for token, listed in logprobs
            ]
        }
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text},
                "logprobs": places,
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8},
    }


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def some_pairs(count: int) -> list[dict[str, Any]]:
    """Pairs of different lengths, their labels known."""
    return [
        {
            "prompt": f"Question {i}: what is {i} plus {i}?",
            "response_a": f"It is {2 * i}." + " Indeed." * (i % 7),
            "response_b": f"No idea about {i}." + " Sorry." * (i % 5),
            "label": "ab"[i % 2],
        }
        for i in range(count)
    ]


def rlaif_env(**extra: str) -> dict[str, str]:
    """The environment of a program under test: one thread, offline, with a key to be kept secret."""
    path = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "OPENAI_API_KEY": SECRET, "NO_PROXY": "127.0.0.1", **extra}


def rlaif(*arguments: object, timeout: float = 120.0, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs `rlaif` as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "rlaif", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=rlaif_env(**env),
    )


def refused(done: subprocess.CompletedProcess[str], status: int | None = None) -> str:
    """The one line (progress bars aside) with which a program refused its input; fails if it did not.

    `status` is 1 (an error) or 2 (usage); without it, either will do.
    """
    lines = [line for line in done.stderr.splitlines() if line and "%|" not in line]
    assert done.returncode in ((1, 2) if status is None else (status,)), (done.returncode, done.stdout, done.stderr)
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: "), done.stderr
    return lines[0]


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def kill_with_children(process: subprocess.Popen[Any]) -> None:
    """Kills a process and all that it started: it is held first, so that it starts no more meanwhile."""
    import psutil

    if process.poll() is not None:
        return
    process.send_signal(signal.SIGSTOP)
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended by itself
            child.kill()
    process.kill()


WORDS = ["<pad>", "<unk>", "<s>", "</s>", "a", "b", "c", "d"]  # ids 0, 1, ...


def word_tokenizer(chat: bool = False) -> Any:
    """One token for each of WORDS."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    if chat:
        tokenizer.chat_template = (
            "{% for m in messages %}{{ m['content'] }} </s> {% endfor %}{% if add_generation_prompt %}<s>{% endif %}"
        )
    return tokenizer


def word_llama(seed: int = 0, spread: float = 0.3, **config: Any) -> Any:
    """A random Llama over WORDS with 3,000 parameters. `spread` 0 would make all words equally likely."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=len(WORDS), initializer_range=spread, **{**shape, **special, **config})
    ).eval()


class RecordingReward:
    """A reward for PPO's trainer: `score(prompt, response_ids)`, and what was scored, rollout by rollout.

    `rollouts` holds lists of (prompt, response_ids, score).
    """

    def __init__(self, score: Callable[[Any, list[int]], float | None], name: str = "score") -> None:
        self.__name__ = name
        self.score = score
        self.rollouts: list[list[tuple[Any, list[int], float | None]]] = []

    def __call__(self, prompts: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        rows = [(p, list(ids), self.score(p, list(ids))) for p, ids in zip(prompts, completion_ids, strict=True)]
        self.rollouts.append(rows)
        return [score for _, _, score in rows]


def ppo_config(folder: Path, **settings: Any) -> Any:
    """PPOConfig for a test: one line of log a step, on the CPU, nothing saved, no penalty, no critic."""
    from rlaif.training.ppo.config import PPOConfig

    quiet = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1}
    plain = {"critic": "none", "missing_eos_penalty": 0.0, "lr_scheduler_type": "constant", "num_iterations": 1}
    return PPOConfig(**{"output_dir": str(folder), **quiet, **plain, **settings})
