#!/usr/bin/env bash
# Real prose: a model trained on books forgets one series of them (docs/oz.md). LETHE_OZ and LETHE_BOOKS are
# folders of plain text, to forget and to keep; the model is trained here (half an hour), or LETHE_OZ_MODEL is
# the one that was trained on them.
. "$(dirname "$0")/../cli/lib.sh"
skip() { echo "skipped: $*"; exit 77; }
oz=${LETHE_OZ:-} books=${LETHE_BOOKS:-} tools=$LETHE_SOURCE/tools/model python=/usr/bin/python3
[ -d "$oz" ] && [ -d "$books" ] || skip "LETHE_OZ and LETHE_BOOKS name no folders of text"
"$python" -c 'import torch' 2>/dev/null || skip "no python3-torch"

ok "$python" "$tools/oz_data.py" --oz "$oz" --books "$books" --out data
model=${LETHE_OZ_MODEL:-oz.gguf}
[ -r "$model" ] ||
    ok "$python" "$tools/make_text_model.py" --text data/forget.jsonl --text data/near.jsonl \
        --text data/retain.jsonl --epochs 16 --threads 1 --out "$model"
