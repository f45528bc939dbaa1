"""Settings of programs: what each has, how it may be spelled, its help, and values from YAML and the command line."""
