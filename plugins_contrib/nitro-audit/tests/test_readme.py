from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from nitro_audit import AuditPlugin, Journal

TEXT = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_its_code_runs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The examples run one after the other and show the entries that they speak of."""
    names: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE):
        exec(code, names)
    names["manager"].unload_all()
    assert "user.login {'username': 'Alice'}" in capsys.readouterr().out
    assert Journal(home / "shop" / "journal.db").count() == 1


def test_its_table_has_every_key() -> None:
    """The keys of the configuration that are documented are those that the plugin takes."""
    section = TEXT.partition("## Configuration")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert set(documented) == {each.name for each in fields(AuditPlugin.config_model)}


def test_its_methods_exist() -> None:
    """Every method that is documented is one of a journal, and every public one is documented."""
    section = TEXT.partition("| method | does |")[2].partition("\n\n")[0]
    documented = set(re.findall(r"^\| `(\w+)\(", section, re.MULTILINE))
    assert documented == {name for name in vars(Journal) if not name.startswith("_")}
