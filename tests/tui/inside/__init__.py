"""Pictures of the inside of a model."""
