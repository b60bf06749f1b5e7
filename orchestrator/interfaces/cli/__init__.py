"""The `orchestrator` command: one file a command, loaded only when it is called."""
