"""The terminal app and the command line."""

EXIT_DONE, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_SIGNAL = 0, 1, 2, 130
