"""Texts to train on: any file, encoding and format becomes documents of plain text.

``data.corpora.load`` loads them.
"""
