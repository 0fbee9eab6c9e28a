"""A shop whose plugins change an order on its way to the till.

Run it with `python examples/basic_usage.py`.
"""

from __future__ import annotations

from typing import Any, Optional

from nitro_dispatch import PluginBase, PluginManager, hook

Order = dict[str, Any]


class VoucherPlugin(PluginBase):
    name = "voucher"
    description = "Takes the percentage of a voucher off the price."

    @hook("order.placed", priority=80)
    def redeem(self, order: Order) -> Optional[Order]:
        percent = self.get_config("percent", {}).get(order.get("voucher"))
        if percent is None:
            # There is nothing to change: the next hook gets the order as it is.
            return None
        return {**order, "cents": order["cents"] * (100 - percent) // 100}


class TaxPlugin(PluginBase):
    name = "tax"
    description = "Adds the tax."

    # The priority is lower than the voucher's, so the tax is on what is left to pay.
    @hook("order.placed", priority=60)
    def add_tax(self, order: Order) -> Order:
        return {**order, "cents": order["cents"] * (100 + self.get_config("percent", 20)) // 100}


class LoyaltyPlugin(PluginBase):
    name = "loyalty"
    description = "Gives points to customers; it has a fault."

    @hook("order.placed")
    def give_points(self, order: Order) -> Order:
        return {**order, "points": order["customer_number"] // 100}

    def on_error(self, error: BaseException) -> None:
        print(f"  loyalty failed with {error!r}; the order goes on")


class ReceiptPlugin(PluginBase):
    name = "receipt"
    description = "Prints a receipt."

    def on_load(self) -> None:
        # A hook can also be registered by hand, for instance when its event is configured.
        self.register_hook(self.get_config("event", "order.placed"), self.show, priority=0)

    def show(self, order: Order) -> None:
        print(f"  {order['item']}: {order['cents'] / 100:.2f}")


def main() -> None:
    config = {"voucher": {"percent": {"SPRING": 50}}, "tax": {"percent": 10}}
    manager = PluginManager(config)
    for plugin in (VoucherPlugin, TaxPlugin, LoyaltyPlugin, ReceiptPlugin):
        manager.register(plugin)
    # On entry the startup event is fired; on exit all plugins are unloaded.
    with manager:
        print("Loaded:", ", ".join(manager.load_all()))

        print("An order with a voucher:")
        order = manager.trigger(
            "order.placed", {"item": "teapot", "cents": 2000, "voucher": "SPRING"}
        )
        print("  returned to the shop:", order)

        print("The same without the plugins that are switched off:")
        manager.disable_plugin("loyalty")
        manager.disable_plugin("voucher")
        manager.trigger("order.placed", {"item": "teapot", "cents": 2000, "voucher": "SPRING"})

        print("Events with hooks:", manager.get_events())
    print("Loaded at the end:", manager.get_loaded_plugins())


if __name__ == "__main__":
    main()
