"""How a program ends: one `error:` line, an exit status, quiet pipes. Whose fault an exception is, and its words."""
