"""Pictures of a text and of what a model gets of it: rows of characters with names of styles."""
