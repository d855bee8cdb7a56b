"""What an asyncio event loop owns: objects of which each loop has its own.

Use `PerLoop`; nothing else of the program is known here.
"""
