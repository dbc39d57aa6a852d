"""The command `megaport`: what it prints, and its exit status."""

import json
import subprocess
import sys
import tomllib
from importlib import import_module

import pytest

from megaport.cli import main
from support.checkout import ROOT

ZIP = str(ROOT / "resources/austen-tiny/megatron_austen_tiny_v0.0.zip")


def test_inspect_prints_one_screen_that_ends_with_the_yaml_to_paste(capsys):
    assert main(["inspect", ZIP, "--n-head", "4", "--vocab-size", "50257"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("A gpt2 of 6 layers, 4 heads, width 160")
    assert "layers.5." not in shown
    assert len(shown.splitlines()) <= 40
    assert shown.endswith(
        "models:\n"
        "  megatron_austen_tiny_v0.0:\n"
        f'    checkpoint: {{path: "{ZIP}"}}\n'
        "    architecture: {n_head: 4, vocab_size: 50257}\n"
        '    tokenizer: "gpt2"\n'
    )


def test_inspect_reads_paths_as_a_shell_would_and_tells_all_of_them(capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(ROOT))
    monkeypatch.chdir(ROOT / "resources")
    for path in (
        ZIP.replace(str(ROOT), "~"),
        ZIP.replace(str(ROOT), "$HOME"),
        ZIP[len(str(ROOT)) + 11 :],
    ):
        assert main(["inspect", path]) == 0
        assert f'path: "{ZIP}"' in capsys.readouterr().out


def test_inspect_lists_tensors_where_asked(capsys):
    assert main(["inspect", ZIP, "--tensors"]) == 0
    assert "layers.5.mlp.dense_4h_to_h.bias" in capsys.readouterr().out


def test_inspect_prints_json_for_programs(capsys):
    assert main(["inspect", ZIP, "--n-head", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["architecture"]["n_head"] == 4


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["/nowhere"], "/nowhere"),
        ([str(ROOT / "Makefile")], "expected a zip, "),
        ([ZIP, "--n-head", "3"], "architecture.n_head"),
        ([ZIP, "--n-head", "three"], "architecture.n_head = 'three'"),
        ([ZIP, "--version", "7"], "checkpoint.version"),
    ],
)
def test_inspect_says_what_is_wrong_and_exits_1(arguments, named, capsys):
    assert main(["inspect", *arguments]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert named in said.err


def test_store_commands_are_there(tmp_path, capsys):
    (tmp_path / "actions").mkdir()
    assert main(["store", "du", str(tmp_path)]) == 0
    assert "blobs" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no store at /nowhere"):
        main(["store", "verify", "/nowhere"])


@pytest.mark.parametrize("command", ["", "inspect", "store", "store gc"])
def test_help_is_there(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: megaport {command}".rstrip())


def test_no_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["store"])
    assert ended.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["inspect", ZIP], ["inspect", ZIP, "--json"]])
def test_a_reader_that_leaves_is_no_error(command):
    ran = subprocess.Popen(
        [sys.executable, "-m", "megaport", *command],
        cwd=ROOT / "workflow",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert ran.stdout and ran.stderr
    ran.stdout.close()
    assert (ran.stderr.read(), ran.wait()) == (b"", 1)


def test_a_store_that_cannot_be_read_is_said_so(tmp_path, monkeypatch, capsys):
    def refuse(store):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("megaport.store.upkeep.Store", refuse)
    assert main(["store", "du", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: [Errno 13] Permission denied: '{tmp_path}'\n"


def test_it_runs_as_a_module(tmp_path):
    (tmp_path / "sha256").mkdir()
    ran = subprocess.run(
        [sys.executable, "-m", "megaport", "store", "du", str(tmp_path)],
        cwd=ROOT / "workflow",
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.startswith("blobs")


def test_it_is_what_pip_installs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["megaport"].partition(":")
    assert getattr(import_module(module), function) is main
    assert project["requires-python"] == ">=3.11"
