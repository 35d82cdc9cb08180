"""The run-time half: programs, weights and devices through the native library. It never imports torch."""
