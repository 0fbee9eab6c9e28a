"""A chat server whose plugins check, translate and enrich each message, some of them async.

Run it with `python examples/advanced_usage.py`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from nitro_dispatch import HookError, PluginBase, PluginManager, StopPropagation, hook

Message = dict[str, Any]

WORDS = {"bonjour": "hello", "merci": "thanks"}


class SpamFilter(PluginBase):
    name = "spam-filter"

    # Synchronous hooks run in a worker thread. This one does nothing that takes time, so it runs
    # in the event loop's own thread.
    @hook("message.received", priority=100, blocking=False)
    def check(self, message: Message) -> None:
        if "lottery" in message["text"]:
            message["rejected"] = "spam"
            # No further hook is called, and the message stays as it is now.
            raise StopPropagation


class Translator(PluginBase):
    name = "translator"

    @hook("message.received", priority=90)
    async def translate(self, message: Message) -> Message:
        await asyncio.sleep(0)  # Here a real one asks a service.
        return {**message, "text": WORDS.get(message["text"], message["text"])}

    @hook("message.suggest")
    async def suggest(self, message: Message) -> str:
        return f"reply in {message['language']}"


class LinkPreview(PluginBase):
    name = "link-preview"

    @hook("message.received", timeout=0.05)
    async def fetch(self, message: Message) -> None:
        if message["text"].startswith("https:"):
            await asyncio.Event().wait()  # A server that never answers.

    async def on_error(self, error: BaseException) -> None:
        print(f"  on_error of link-preview: {type(error).__name__}: {error}")


class Emoji(PluginBase):
    name = "emoji"

    @hook("message.suggest", priority=70)
    def suggest(self, message: Message) -> str:
        return ":wave:"


async def run(manager: PluginManager) -> None:
    print("Messages:")
    for text in ("bonjour", "you won the lottery", "https://example.org"):
        message = await manager.trigger_async("message.received", {"text": text})
        print(f"  {text!r} became {message}")

    print("Every plugin's own answer, asked all at once:")
    for answer in await manager.collect_async("message.suggest", {"language": "French"}):
        print(f"  {answer.plugin}: {answer.value}")


def errors(manager: PluginManager) -> None:
    print("What became of a failing hook:")
    manager.register_hook("number.parse", int)

    manager.set_error_strategy("log_and_continue")
    print("  log_and_continue:", repr(manager.trigger("number.parse", "seven")))

    manager.set_error_strategy("collect_all")
    manager.trigger("number.parse", "seven")
    for error in manager.get_last_errors():
        print("  collect_all:", error["plugin"], "on", error["event"], "-", error["error"])

    manager.set_error_strategy("fail_fast")
    try:
        manager.trigger("number.parse", "seven")
    except HookError as error:
        print("  fail_fast:", error)
        print("  and the cause:", repr(error.__cause__))


def main() -> None:
    manager = PluginManager()
    for plugin in (SpamFilter, Translator, LinkPreview, Emoji):
        manager.register(plugin)
    with manager:
        manager.load_all()
        asyncio.run(run(manager))
        errors(manager)


if __name__ == "__main__":
    main()
