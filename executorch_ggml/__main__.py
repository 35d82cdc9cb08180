"""``python -m executorch_ggml`` is the command ``executorch-ggml``."""

from executorch_ggml.cli.main import main

if __name__ == "__main__":
    main()
