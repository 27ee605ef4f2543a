"""Tests that `tools.cherrypick` copies beside a method: `test_<paper>.py`, `test_<paper>_torch.py`.

They import nothing but the method and third-party packages, run with and without pytest, and hold
numbers worked out by hand. Our own suite runs them against the method in its room.
"""
