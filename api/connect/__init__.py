"""The Connect page: create client keys and copy configurations. `urls` is its entry."""
