"""A program for ablations to run in tests: a number made of its settings, in no time, with faults on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# What it writes is value = scale * (the input's value, or 1) + noise * (a number that seed and name decide).
TOY = """
import hashlib, json, os, sys, time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Settings:
    source: str | None = None
    scale: float = 1.0
    noise: float = 0.0
    seed: int | None = None
    sleep: float = 0.0
    fail: str | None = None
    text: str | None = None
    dataset: str | None = None
    held_out: str | None = None
    output: str | None = None
    run_name: str | None = None


SETTINGS = (Settings,)
LEARNS = ()
MEASURES = ()


def main():
    import yaml

    settings = yaml.safe_load(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
    print("threads", os.environ["OMP_NUM_THREADS"], "gpus", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    folder = Path(os.environ["TOY_LOG"])
    with (folder / "starts").open("a") as file:
        file.write(f"{Path(settings['output']).parent.name} {time.time()}\\n")
    time.sleep(float(settings.get("sleep", 0)))
    if settings.get("fail"):
        print("about to fail")
        print(f"error: {settings['fail']}", file=sys.stderr)
        print("and a word after it")
        sys.exit(3)
    base = 1.0
    if "source" in settings:
        base = json.loads((Path(settings["source"]) / "report.json").read_text())["value"]
    digest = hashlib.sha256(f"{settings.get('seed')}".encode()).digest()
    noise = float(settings.get("noise", 0)) * (int.from_bytes(digest[:4]) / 2**32 - 0.5)
    value = float(settings.get("scale", 1)) * base + noise
    out = Path(settings["output"])
    out.mkdir(parents=True, exist_ok=True)
    report = {"value": value, "nested": {"a.b": {"value": value}}, "null": None, "name": "toy"}
    report["series"] = [{"n": n, "x": float(n), "x_se": 0.5, "y": value * n} for n in (1, 2, 4)]
    (out / "report.json").write_text(json.dumps(report))
    with (folder / "ends").open("a") as file:
        file.write(f"{Path(settings['output']).parent.name} {time.time()}\\n")


if __name__ == "__main__":
    main()
"""


def toy_study(folder: Path, **changes: Any) -> dict[str, Any]:
    """A study of two stages of the toy program, written into `folder`, and its content: `first` is shared."""
    program = folder / "toy.py"
    if not program.exists():
        program.write_text(TOY)
    content: dict[str, Any] = {
        "name": "toy",
        "seeds": [0, 1, 2],
        "stages": {
            "first": {"program": str(program), "set": {"seed": "${seed}", "noise": 1.0}},
            "second": {"program": str(program), "set": {"source": "${first}", "seed": 7}},
        },
        "factors": {"scale": {"second.scale": [1.0, 2.0]}},
        "baseline": {"scale": 1.0},
        "outcomes": {"value": {"stage": "second", "metric": "value"}},
    }
    return {**content, **changes}


def write_study(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / f"{content['name']}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
