"""Pictures of the inside of a model: arrays in, rows of characters and style names out."""
