"""The ``guildbook`` command."""
