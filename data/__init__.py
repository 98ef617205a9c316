"""Text, tokens and batches.

* `data.corpora`: load a text, whatever it is in; `data.sources`: find it.
* `data.tokenizers`: text to token ids and back.
* `data.batches`: the windows of tokens for each training step and evaluation.
* `data.files`: atomic writes.
* `data.errors`: errors that the user can fix.

Nothing is re-exported, to keep `import data` cheap: only `data.batches` imports NumPy when it is
imported (`data.tokenizers` does at its first use), and nothing imports torch.
"""
