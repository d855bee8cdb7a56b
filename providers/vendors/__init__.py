"""What is known of vendors and their models before anybody calls them: presets and catalogues.

Data ships with the program; nothing is fetched.
"""
