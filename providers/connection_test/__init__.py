"""The test that a person watches: stage by stage, over both methods, on the values of the form.

Use `runner`; it makes the same calls as a request.
"""
