"""`idp demo`: the provider and two real apps on this machine, and one line for each thing that happens between them.

The provider is `idp serve` in a process of its own; the apps are `examples/`, each in a process of its own.
`options` says what may be chosen, `start` brings everything up, `registration` makes the person and the clients,
`stage` keeps the processes and ends them all, `screen` says what happens, `cli` is the command.
"""

from idp.demo.cli import command, run
from idp.demo.options import DemoOptions

__all__ = ["DemoOptions", "command", "run"]
