"""The ahead-of-time half: from exported programs to payloads. It imports torch and never loads the native library."""
