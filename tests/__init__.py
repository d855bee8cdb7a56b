"""Tests mirror the code; the fake upstream is the only part that is not real."""
