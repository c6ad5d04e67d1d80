"""The commands of `sluice`, one module each: a function of the module's name, with options as Typer reads them."""
