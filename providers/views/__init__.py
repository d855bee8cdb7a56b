"""The settings panel: the providers' pages, their test, their catalogue."""
