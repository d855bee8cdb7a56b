"""The Connect page: create, limit and rotate client keys, copy configurations. Entry: `urls`."""
