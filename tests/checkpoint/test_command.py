"""`python -m megaport.checkpoint.command`: the inspection without a workflow."""

import json

from megaport.checkpoint.command import main
from support.checkout import ROOT

ZIP = str(ROOT / "resources/austen-tiny/megatron_austen_tiny_v0.0.zip")


def test_prints_a_table(capsys):
    assert main([ZIP, "--n-head", "4"]) == 0
    shown = capsys.readouterr().out
    assert "qkv_order" in shown and "layers.3.mlp.dense_4h_to_h.bias" in shown


def test_prints_json(capsys):
    assert main([ZIP, "--n-head", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["architecture"]["n_embd"] == 160


def test_says_what_is_missing_and_exits_1(capsys):
    assert main([ZIP]) == 1
    assert "n_head" in capsys.readouterr().err
