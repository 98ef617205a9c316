"""The schema of all settings, and the presets."""
