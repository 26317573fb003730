#!/usr/bin/env bash
# bm25s 0.3.16: a query of which no word is known finds the documents without a word, with a score above 0.
#
# Guess: words that no document has count for nothing, so such a query scores 0 everywhere, and "score above 0" means a word in common.
# Seen: its Tokenizer, told not to learn new words, makes of the query the empty token; and a document that is empty, or has stop words
# alone, holds the same token. It comes first, with a score like that of a rare word. Whoever takes a score above 0 for a match (in a
# hybrid list, say) looks up the query's words in the vocabulary, and asks for the scores of those that are there.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet bm25s==0.3.16 numpy==2.3.5
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import bm25s
from bm25s.tokenization import Tokenizer

tokenizer = Tokenizer(stopwords="en")
held = bm25s.BM25()
held.index(tokenizer.tokenize(["gout pain", "", "aspirin fever"], return_as="tuple", show_progress=False), show_progress=False)
asked = tokenizer.tokenize(["zebra"], update_vocab=False, show_progress=False)
rows, scores = held.retrieve(asked, k=1, show_progress=False)
print(f"bm25s {importlib.metadata.version('bm25s')}; the query 'zebra' becomes {asked}, and finds row {rows[0][0]} with score {scores[0][0]:.3f}")
assert rows[0][0] == 1, "no longer so: the empty document is not found"
assert scores[0][0] > 0, "no longer so: its score is 0"
PY
