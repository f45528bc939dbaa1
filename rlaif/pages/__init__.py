"""What people look at: Markdown pages and their plots, one file a page. They compute nothing."""
