"""The settings: the schema, what a setting is, the presets."""
