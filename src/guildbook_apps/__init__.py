"""Business applications on Guildbook, one folder each: a contract, its adapter, views, workload and demonstration."""
