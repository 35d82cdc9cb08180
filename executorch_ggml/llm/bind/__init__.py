"""Any module, anyone's GGUF: a graph of your own with the weights of a file."""
