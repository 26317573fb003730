#!/usr/bin/env bash
# transformers 5.23.0: AutoTokenizer makes a tokenizer of five special tokens from a BERT folder that has no tokenizer's files.
#
# Guess: from_pretrained raises where neither tokenizer.json nor vocab.txt is there, as it does for a missing config.json.
# Seen: no error and no warning; the vocabulary holds [PAD] [UNK] [CLS] [SEP] [MASK], and every word becomes [UNK].
# So an encoder that was copied without them encodes all texts of one length alike, and a search returns noise.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "transformers==5.23.0" "tokenizers==0.23.3"
mkdir "$work/bert"
printf '%s' '{"model_type": "bert", "architectures": ["BertModel"]}' > "$work/bert/config.json"
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - "$work/bert" <<'PY'
import sys

import transformers
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
words = tokenizer.tokenize("aspirin lowers fever")
print("transformers", transformers.__version__, "vocabulary", sorted(tokenizer.get_vocab()), "tokens", words)
assert len(tokenizer.get_vocab()) == 5, "no longer so: it has a vocabulary"
assert words == ["[UNK]"] * 3, "no longer so: words are kept apart"
PY
