"""Retrievers beside those with vectors: by words, and by the lists of others.

Here: what finds or orders passages and has no vectors; each is a baseline for the retriever that is trained.
May import: corpus, runtime.
"""

WORDS = "words"  # where an output of `index` keeps an index of words
