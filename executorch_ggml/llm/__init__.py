"""Language models from a GGUF: decoders, text, export, and the module that runs them."""
