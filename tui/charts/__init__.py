"""Charts as cells: numbers in, characters and style names out; independent of Textual."""
