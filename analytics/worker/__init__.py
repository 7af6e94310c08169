"""An application in a process of its own: the process, the parent's end of it, and who starts it again."""
