from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from nitro_dispatch import PluginManager

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


def test_its_table_has_every_key(home: Path) -> None:
    """The keys of the configuration that are documented are those that the plugin reads."""
    read = set()

    class Watched(AuditPlugin):
        def get_config(self, key: str, default: Any = None) -> Any:
            read.add(key)
            return default

    with PluginManager() as manager:
        manager.register(Watched)
        manager.load_all()
    section = TEXT.partition("## Configuration")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == read


def test_its_methods_exist() -> None:
    """Every method that is documented is one of a journal, and every public one is documented."""
    section = TEXT.partition("| method | does |")[2].partition("\n\n")[0]
    documented = set(re.findall(r"^\| `(\w+)\(", section, re.MULTILINE))
    assert documented == {name for name in vars(Journal) if not name.startswith("_")}
