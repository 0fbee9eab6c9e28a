"""Which plugins may be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nitro_dispatch import PluginManager
from nitro_dispatch.policy import Policy


def test_permits_everything_by_default() -> None:
    """A policy without lists permits every name."""
    assert Policy().refusal("audit") == ""


def test_blocks_a_name_and_no_other() -> None:
    """A blocked name is refused, with what refused it, and the others are permitted."""
    policy = Policy(block=["store", "audit"])
    assert policy.refusal("audit") == "blocked by the block list entry 'audit'"
    assert policy.refusal("weather") == ""


def test_an_allow_list_refuses_the_rest() -> None:
    """What is not in the allow list is refused, with the list."""
    policy = Policy(allow=["audit", "store"])
    assert policy.refusal("store") == ""
    assert policy.refusal("weather") == "not in the allow list ('audit', 'store')"


def test_an_empty_allow_list_permits_nothing() -> None:
    """An empty allow list is a list, not the absence of one."""
    assert Policy(allow=[]).refusal("audit") == "not in the allow list (it is empty)"


def test_block_wins_over_allow() -> None:
    """A name in both lists is refused."""
    assert Policy(allow=["audit"], block=["audit"]).refusal("audit").startswith("blocked")


@pytest.mark.parametrize("entry", ["nitro-*", "nitro-?udit", "nitro-[ab]udit"])
def test_entries_may_have_wildcards(entry: str) -> None:
    """An entry with a wildcard stands for every name that fits it, and for no other."""
    assert Policy(block=[entry]).refusal("nitro-audit")
    assert not Policy(block=[entry]).refusal("weather")


def test_an_entry_is_taken_literally_too() -> None:
    """A name with brackets in it can be blocked as it is written."""
    assert Policy(block=["tools [beta]"]).refusal("tools [beta]")


def test_case_counts() -> None:
    """A name in other letters is another name."""
    assert Policy(block=["audit"]).refusal("Audit") == ""
    assert Policy(allow=["Audit"]).refusal("audit")


@pytest.mark.parametrize(
    "entry", ["Nitro-Audit", "nitro.audit", "NITRO__AUDIT", "Nitro.*", "nitro_audit"]
)
def test_a_distribution_is_blocked_in_every_spelling(entry: str) -> None:
    """The block list knows a distribution in whichever spelling pip takes for it."""
    refusal = f"the block list entry {entry!r}"
    assert Policy(block=[entry]).refusal("audit", "nitro-audit") == f"blocked by {refusal}"
    assert Policy(block=[entry]).refusal("weather", "nitroaudit") == ""
    environ = {"NITRO_DISPATCH_BLOCK": entry}
    assert Policy.from_environment(environ).refusal("nitro-audit")


def test_any_of_the_names_is_enough() -> None:
    """A plugin is blocked, and permitted, by whichever of its names a list has."""
    assert Policy(block=["nitro-audit"]).refusal("audit", "nitro-audit")
    assert not Policy(allow=["nitro-audit"]).refusal("audit", "nitro-audit")


def test_a_plugin_without_a_name_is_in_no_list() -> None:
    """Without names nothing is blocked by a list, and nothing allowed by one."""
    assert Policy(block=["*"]).refusal() == ""
    assert Policy(allow=["*"]).refusal() == "not in the allow list ('*')"


def test_tells_whether_it_restricts_anything() -> None:
    """A policy is restrictive if it blocks something, or has an allow list, even an empty one."""
    assert not Policy().is_restrictive
    assert Policy(block=["audit"]).is_restrictive
    assert Policy(allow=[]).is_restrictive


@pytest.mark.parametrize("option", ["allow", "block"])
def test_a_string_is_not_a_list(option: str) -> None:
    """A string given for a list is an error which shows the list to give."""
    wrong: Any = {option: "audit"}
    with pytest.raises(TypeError, match=rf"{option} must be a list .*\['audit'\]"):
        Policy(**wrong)
    with pytest.raises(TypeError, match=rf"{option} must be a list"):
        Policy.from_environment({}, **wrong)


@pytest.mark.parametrize("option", ["allow", "block"])
def test_entries_are_strings(option: str) -> None:
    """A list with something else than strings in it is an error that shows the culprit."""
    wrong: Any = {option: ["audit", 3]}
    with pytest.raises(TypeError, match=rf"{option} .* 3 is not a string"):
        Policy(**wrong)


def test_lists_are_copied() -> None:
    """A change of a list after the policy is made changes nothing."""
    block = ["audit"]
    policy = Policy(block=block)
    block.clear()
    assert policy.refusal("audit")


def test_reads_the_block_variable() -> None:
    """The variable's names, blanks trimmed, are blocked besides the list's."""
    environ = {"NITRO_DISPATCH_BLOCK": " audit , store*,, "}
    policy = Policy.from_environment(environ, block=["weather"])
    assert policy.refusal("audit") == "blocked by NITRO_DISPATCH_BLOCK='audit'"
    assert policy.refusal("store-2") == "blocked by NITRO_DISPATCH_BLOCK='store*'"
    assert policy.refusal("weather") == "blocked by the block list entry 'weather'"
    assert policy.refusal("mail") == ""


def test_reads_the_allow_variable() -> None:
    """The variable's names are permitted besides the list's, and nothing else is."""
    environ = {"NITRO_DISPATCH_ALLOW": "audit"}
    policy = Policy.from_environment(environ, allow=["store"])
    assert policy.refusal("audit") == policy.refusal("store") == ""
    assert policy.refusal("mail") == "not in the allow list ('store', NITRO_DISPATCH_ALLOW='audit')"
    assert Policy.from_environment(environ).refusal("mail")


@pytest.mark.parametrize("value", ["", " ", ",", " , "])
def test_a_variable_without_names_counts_as_not_set(value: str) -> None:
    """An empty variable neither blocks, nor forbids what no list forbids."""
    environ = {"NITRO_DISPATCH_ALLOW": value, "NITRO_DISPATCH_BLOCK": value}
    assert Policy.from_environment(environ).refusal("audit", "") == ""
    assert Policy.from_environment(environ, allow=[]).refusal("audit")


def test_the_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable is read when the policy is made, from the process's environment by default."""
    monkeypatch.setenv("NITRO_DISPATCH_BLOCK", "audit")
    policy = Policy.from_environment()
    monkeypatch.setenv("NITRO_DISPATCH_BLOCK", "store")
    assert policy.refusal("audit")
    assert policy.refusal("store") == ""


def test_the_environment_does_not_reach_a_plain_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `from_environment` the variables are not looked at."""
    monkeypatch.setenv("NITRO_DISPATCH_BLOCK", "audit")
    assert Policy().refusal("audit") == ""


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb"])
def test_a_refusal_is_one_printable_line(name: str) -> None:
    """Control characters in an entry do not get into the text."""
    environ = {"NITRO_DISPATCH_BLOCK": name}
    refusals = [
        Policy(block=[name]).refusal(name),
        Policy(allow=[name]).refusal("x"),
        Policy.from_environment(environ).refusal(name),
    ]
    assert all(refusal.isprintable() for refusal in refusals)


@pytest.mark.parametrize("file", ["dyn_plugin.py", "dyn_plugin/__init__.py"])
@pytest.mark.parametrize("entry", ["dyn_plugin.py", "dyn_plugin", "dyn_*"])
def test_a_file_is_blocked_by_its_name(tmp_path: Path, file: str, entry: str) -> None:
    """A plugin file is blocked by its name or stem, a package by its folder's; neither is run."""
    source = tmp_path / file
    source.parent.mkdir(exist_ok=True)
    ran = tmp_path / "it_ran"
    source.write_text(f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n")
    PluginManager(block=[entry]).discover_plugins(tmp_path)
    is_blocked = file.startswith(entry.rstrip("*"))
    assert ran.exists() is not is_blocked
    PluginManager().discover_plugins(tmp_path)
    assert ran.exists()
