"""A provider's catalogue of models: fetched, merged from its sources, searched.

A list that comes back empty never wipes what is stored.
"""
