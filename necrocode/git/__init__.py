"""Git: object cache, snapshot store, the slot as a folder of files, and everything that talks to a remote."""
