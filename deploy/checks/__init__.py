"""What deploy/check.py asks of the files that ship Kiln, by subject. Each check yields sentences; none means that
all is well.
"""
