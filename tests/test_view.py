"""rlaif view: one page on this machine alone, of any folder of the house; and the curves of a training run."""

import _thread
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import here, refused, rlaif_env
from test_page import Parsed, written
from test_report import REPORT

from rlaif.commands.view import ViewConfig, _open, serve, view
from rlaif.config import UsageError
from rlaif.pages.curves import draw_curves, plot_curves
from rlaif.pages.view import page_of

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def server() -> Iterator[int]:
    with serve(b"<!doctype html><title>x</title>") as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made.server_port
        made.shutdown()


def ask(port: int, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {"Host": f"127.0.0.1:{port}", **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_the_page_and_nothing_else_is_served(server: int) -> None:
    assert ask(server) == (200, b"<!doctype html><title>x</title>")
    assert ask(server, "/report.html?x=1")[0] == 200
    assert ask(server, "/", Host=f"localhost:{server}")[0] == 200
    assert ask(server, "/", method="HEAD") == (200, b"")
    for path in ("/report.json", "/replies/", "/../report.json", "/..%2freport.json", "/report.html/..", "*"):
        assert ask(server, path)[0] == 404, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "CONNECT"):
        assert ask(server, "/", method=method)[0] in (400, 404, 501), method


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
def test_a_reader_who_came_by_another_name_is_refused(server: int, host: str) -> None:
    assert ask(server, Host=host.format(port=server))[0] == 421


def test_a_port_in_use_is_one_line(server: int) -> None:
    with pytest.raises(UsageError, match=f"port {server} is in use; choose another"):
        serve(b"", server)


def test_the_command_serves_a_report_until_ctrl_c(tmp_path: Path) -> None:
    page = written(tmp_path, 3).read_bytes()
    command = [sys.executable, "-m", "rlaif", "view", str(tmp_path), "--open", "false"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=rlaif_env()) as run:
        line = run.stdout.readline()
        assert line.startswith(f"{tmp_path} at http://127.0.0.1:"), (line, run.stderr.read())
        port = int(line.split("127.0.0.1:")[1].split("/")[0])
        assert ask(port) == (200, page)
        os.kill(run.pid, signal.SIGINT)
        assert run.wait() == 0
        assert run.stderr.read().strip() == ""


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        ([], 2, "folder must be set"),
        (["nowhere"], 1, "nowhere is not there; expected a folder that `rlaif evaluate`"),
        (["."], 1, "has no report.html, report.json or report.md"),
        ([".", "--port", "70000"], 2, "port is 70000; expected a port from 1 to 65,535"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert line in refused(here("view", *arguments), status)


def test_a_browser_that_waits_for_the_page_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, got = written(tmp_path).read_bytes(), []

    def reads(address: str) -> None:
        try:
            got.append(ask(int(address.split(":")[2].strip("/"))))
        finally:
            _thread.interrupt_main()

    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.BackgroundBrowser("firefox"))
    monkeypatch.setattr(webbrowser, "open", reads)
    view(ViewConfig(folder=str(tmp_path)))
    assert got == [(200, page)]


@pytest.mark.parametrize(
    ("browser", "chosen", "opened"),
    [
        (webbrowser.GenericBrowser("w3m"), "", False),
        (webbrowser.GenericBrowser("w3m"), "w3m", True),
        (webbrowser.Elinks("elinks"), "", False),
        (webbrowser.BackgroundBrowser("xdg-open"), "", True),
        (webbrowser.Chrome("chromium"), "", True),
    ],
)
def test_a_browser_of_the_terminal_is_started_only_where_it_was_chosen(
    monkeypatch: pytest.MonkeyPatch, browser: webbrowser.BaseBrowser, chosen: str, opened: bool
) -> None:
    seen: list[str] = []
    monkeypatch.setenv("BROWSER", chosen)
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    monkeypatch.setattr(webbrowser, "open", seen.append)
    _open("http://127.0.0.1:1/")
    assert seen == ["http://127.0.0.1:1/"] * opened


# What can be shown ----------------------------------------------------------------------------------------------------


def test_an_older_run_without_a_page_gets_one(tmp_path: Path) -> None:
    page = written(tmp_path, 8)
    ours = page.read_bytes()
    assert page_of(tmp_path) == ours
    page.write_text("<p>somebody's own</p>")
    report = json.loads((tmp_path / "report.json").read_text())
    earlier = {"pairs": 147, "unscored": 0, "accuracy": 0.94, "accuracy_low": 0.9, "accuracy_high": 0.97}
    report["reward_model"] = {**earlier, "accuracy_by": "gold", "ece": 0.067}
    (tmp_path / "report.json").write_text(json.dumps(report))
    made = Parsed(page_of(tmp_path).decode())
    assert "81.2 %" in made.text
    assert "94.0 %" in made.text
    assert [len(json.loads(inner)) for attributes, inner in made.scripts if attributes.get("class") == "rows"] == [8]
    assert "Answer 7 of dpo" in made.scripts[0][1]
    (tmp_path / "responses.jsonl").unlink()
    assert Parsed(page_of(tmp_path).decode()).scripts == []


def test_reports_that_are_none_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        page_of(tmp_path)
    (tmp_path / "report.json").write_text(json.dumps({"policies": {"a": {}}, "sampling": {}}))
    with pytest.raises(ValueError, match="cannot be shown"):
        page_of(tmp_path)
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    (tmp_path / "responses.jsonl").write_text("{")
    with pytest.raises(ValueError, match="cannot be shown"):
        page_of(tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        page_of(tmp_path / "report.json")


def test_a_training_folder_shows_its_numbers_its_curves_and_what_was_watched(tmp_path: Path) -> None:
    report = {
        "train": {"steps": 40, "loss": 0.64512, "resumed_from": None, "last": {"kl": 2.1}},
        "over_optimization": {"checks": [{}]},
        "held_out": {
            "z": {"nll": 0.5, "nll_low": 0.25, "nll_high": 0.75},
            "acc": 1.0,
            "acc_low": None,
            "acc_high": None,
        },
        "best": {"gold": 2.0, "gold_se": 0.5, "below_low": 3},
        "seconds": 12.0,
    }
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "manifest.json").write_text(json.dumps({"command": "recipes/ppo.py"}))
    draw_curves(tmp_path, LOG)
    (tmp_path / "report.md").write_text("# Watching\n\n![p](over_optimization.png)\n\n## Checks\n\n<b>step</b>\n")
    (tmp_path / "over_optimization.png").write_bytes(PNG)
    page = Parsed(page_of(tmp_path).decode())
    said = " ".join(page.text.split())
    assert "held_out name value z.nll 0.5 [0.25, 0.75] acc 1 best name value gold 2 [1.02, 2.98] below_low 3" in said
    for words in ("recipes/ppo.py", "steps 40", "loss 0.6451", "last.kl 2.1", "Watching", "<b>step</b>", "seconds 12"):
        assert words in said, words
    assert sum(tag == "img" for tag, _ in page.tags) == 2
    assert [tag for tag, _ in page.tags].count("h1") == 1


def test_an_ablation_shows_its_page_with_its_pictures_and_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"cells": []}))
    (tmp_path / "number.png").write_bytes(PNG)
    (tmp_path / "link.png").symlink_to(tmp_path / "report.json")
    (tmp_path / "report.md").write_text("# A title\n\n![n](number.png)\n\n![l](link.png)\n\n![o](../x/other.png)\n")
    page = Parsed(page_of(tmp_path).decode())
    assert [attributes["src"][:22] for tag, attributes in page.tags if tag == "img"] == ["data:image/png;base64,"]
    assert "A title" in page.text


# Curves ---------------------------------------------------------------------------------------------------------------

LOG = [
    {"step": 10, "loss": 0.7, "rewards/accuracies": 0.5, "learning_rate": 1e-4},
    {"step": 20, "loss": 0.6, "rewards/accuracies": 0.7, "learning_rate": 5e-5},
    {"step": 20, "eval_loss": 0.65, "eval_rewards/accuracies": 0.6},
    {"step": 20, "train_loss": 0.65, "train_runtime": 3.0, "mean_token_accuracy": 0.5},
]


def lines_of(log: list[dict]) -> dict[str, list[list[float]]]:
    """The numbers of each panel, line by line, by what stands at its axis."""
    panels = plot_curves(log).axes
    return {axes.get_ylabel(): [list(line.get_ydata()) for line in axes.lines] for axes in panels}


def test_what_was_logged_is_drawn() -> None:
    assert lines_of(LOG) == {
        "loss": [[0.7, 0.6], [0.65]],
        "accuracy of the\nimplicit reward": [[0.5, 0.7], [0.6]],
        "learning\nrate": [[1e-4, 5e-5]],
    }
    ppo = [{"step": 0, "eval_reward": 0.1, "eval_kl": 0.0}, {"step": 4, "reward": 0.5, "kl": 1.0, "loss": 0.1}]
    assert lines_of(ppo) == {"loss": [[0.1]], "reward": [[0.5], [0.1]], "KL, nats a response": [[1.0], [0.0]]}


def test_no_log_is_no_picture_and_no_log_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for log in ([], [{"step": 1, "train_runtime": 3.0}], [{"loss": 1.0}], [{"step": 1, "loss": float("nan")}]):
        assert not draw_curves(tmp_path, log)
        assert list(tmp_path.iterdir()) == []
    for log in ([{"step": 1, "loss": 2.0}], [*LOG, {"step": 30, "loss": float("inf")}]):
        assert draw_curves(tmp_path, log)
        assert (tmp_path / "loss.png").read_bytes().startswith(PNG)
    assert "left out: 1 of 4 lines" in plot_curves([*LOG, {"step": 30, "loss": float("inf")}]).axes[0].get_title()
    assert capsys.readouterr().err == ""
    assert not draw_curves(tmp_path / "nowhere", LOG)
    assert "loss.png was not drawn (FileNotFoundError" in capsys.readouterr().err
