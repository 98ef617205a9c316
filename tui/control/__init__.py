"""The actions of the app, without widgets."""
