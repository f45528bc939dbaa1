"""The commands of `rlaif`, one file each. They never import one another: they meet through files."""
