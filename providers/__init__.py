"""Whom we can call and how: providers, routes, models, clients, routing, discovery."""
