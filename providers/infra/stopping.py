"""Whether this process is about to stop: then it is not ready, and its event streams end."""

from threading import Event

# Set by SIGUSR1 in the web process, before its server closes the listener.
stopping = Event()
