"""What the app does, without a widget in sight."""
