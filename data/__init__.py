"""Text, and what training needs to be made of it.

* `data.corpus`: where a text comes from (a file, the public catalogue, the built-in stand-in).
* `data.tokenizers`: text to token ids and back.
* `data.batches`: the windows of tokens that each step and each evaluation see.
* `data.errors`: what is raised when the person has to change something.

Nothing is re-exported here, so that `import data` costs nothing: only `data.batches` imports numpy
at once (`data.tokenizers` does at its first use), and nothing here imports torch.
"""
