"""The checks of deploy/check.py, by subject. Each check yields its findings as messages, and none if the files are correct."""
