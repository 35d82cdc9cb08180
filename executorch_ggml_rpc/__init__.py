"""ggml's RPC backend for executorch_ggml, which finds it beside itself: there is nothing here to import."""
