"""The command line: ``executorch-ggml``. One module a command; torch is imported where a model is exported."""
