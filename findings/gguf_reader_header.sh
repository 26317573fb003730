#!/usr/bin/env bash
# gguf 0.19.0: opening a GGUF file to ask what model it is takes seconds, and most of it goes to the vocabulary.
#
# Guess: GGUFReader maps the file into memory, so `fields["general.architecture"]` costs a page or two, whatever the file holds.
# Seen: the constructor visits every element of every array. With a vocabulary of 50,000 tokens and as many merges, as models of a hundred
# million weights have them, it takes some hundred times as long as reading the same keys in order with `struct` and passing over the
# texts, and 128,000 tokens take more than twice as long again. So a check before a run that asks for architecture and context reads
# the keys itself.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet gguf==0.19.0 numpy==2.3.5
cd "$work"
venv/bin/python - <<'PY'
import importlib.metadata
import struct
import time

from gguf import GGUFReader, GGUFWriter

SIZE = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9


def make(tokens):
    out = GGUFWriter("model.gguf", "llama")
    out.add_context_length(2048)
    out.add_tokenizer_model("gpt2")
    out.add_token_list([f"token{n}" for n in range(tokens)])
    out.add_token_types([1] * tokens)
    out.add_token_merges([f"a{n} b{n}" for n in range(tokens)])
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def keys():
    """Read all keys in order; arrays are passed over."""
    found = {}
    with open("model.gguf", "rb") as file:
        _, _, _, count = struct.unpack("<IIQQ", file.read(24))

        def text():
            return file.read(struct.unpack("<Q", file.read(8))[0])

        for _ in range(count):
            key, kind = text().decode(), struct.unpack("<I", file.read(4))[0]
            if kind == STRING:
                found[key] = text().decode()
            elif kind == ARRAY:
                inner, length = struct.unpack("<IQ", file.read(12))
                if inner == STRING:
                    for _ in range(length):
                        file.seek(struct.unpack("<Q", file.read(8))[0], 1)
                else:
                    file.seek(length * SIZE[inner], 1)
            else:
                found[key] = file.read(SIZE[kind])
    return found["general.architecture"]


def library():
    field = GGUFReader("model.gguf").fields["general.architecture"]
    return bytes(field.parts[field.data[0]]).decode()


def seconds(read):
    best = 1e9
    for _ in range(2):
        begin = time.process_time()
        assert read() == "llama"
        best = min(best, time.process_time() - begin)
    return best


print(f"gguf {importlib.metadata.version('gguf')}; seconds of CPU time to learn the architecture")
taken = {}
for tokens in (50_000, 128_000):
    make(tokens)
    taken[tokens] = seconds(library), seconds(keys)
    print(f"{tokens:,} tokens: GGUFReader {taken[tokens][0]:.2f}, keys alone {taken[tokens][1]:.3f}")
assert taken[50_000][0] > 10 * taken[50_000][1], "no longer so: GGUFReader may serve for a look at the header (jmlr.models.gguf)"
assert taken[128_000][0] > 1.5 * taken[50_000][0], "no longer so: the time does not grow with the vocabulary"
PY
