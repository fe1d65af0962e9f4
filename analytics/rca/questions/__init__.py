"""The on-call engineer's questions, each one module."""
