"""A plain help text, word for word."""

import pytest

from megaport.store.tool import main

HELP = {
    (): """usage: megaport.store.tool [-h] COMMAND ...

Look after a store: `python -m megaport.store.tool verify|gc|du STORE`.

positional arguments:
  COMMAND
    verify    re-hash every blob and follow every action
    gc        list what no given results folder reaches; --delete removes it
    du        how much the store holds

options:
  -h, --help  show this help message and exit
""",
    ("gc",): """usage: megaport.store.tool gc [-h] [--delete] [--grace HOURS]
                              store results [results ...]

list what no given results folder reaches; --delete removes it

positional arguments:
  store          the folder that `store:` names
  results        results folders to keep

options:
  -h, --help     show this help message and exit
  --delete       act; otherwise only list
  --grace HOURS  keep younger (1)
""",
    ("du",): """usage: megaport.store.tool du [-h] store

how much the store holds

positional arguments:
  store       the folder that `store:` names

options:
  -h, --help  show this help message and exit
""",
}


@pytest.mark.parametrize("command", HELP, ids=" ".join)
def test_help_is_plain(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert (ended.value.code, capsys.readouterr().out) == (0, HELP[command])


def test_no_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "the following arguments are required: COMMAND" in capsys.readouterr().err
