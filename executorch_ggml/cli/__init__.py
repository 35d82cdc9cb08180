"""The command line: ``executorch-ggml``. One module a command; torch is imported by ``export`` alone."""
