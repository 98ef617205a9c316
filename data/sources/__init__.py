"""Where a text is: files, folders, patterns, standard input and addresses, as bytes in chunks."""
