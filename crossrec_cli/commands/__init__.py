"""The commands of the shell, a module for each group; cli.py puts them together."""
