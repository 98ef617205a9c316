"""Charts as cells: numbers in, characters and style names out. Nothing here knows Textual."""
