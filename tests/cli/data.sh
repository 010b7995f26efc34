#!/usr/bin/env bash
# Text in every wrapping gives the rows of the plain file; bad files get one message.
. "$(dirname "$0")/lib.sh"
: "${PACK:?}"

for i in $(seq 60); do printf 'Line %d: the old man walked to the river and sat down by the water, é.\n' "$i"; done >a.txt
for i in $(seq 40); do printf '{"text": "Document %d is about a fox that went home.", "body": "Another text, number %d, of a hare."}\n' "$i" "$i"; done >b.jsonl
sed 's/$/\r/' a.txt >crlf.txt
{ printf '\xef\xbb\xbf'; cat a.txt; } >bom.txt
{ printf '\xef\xbb\xbf'; sed 's/$/\r/' b.jsonl; } >bom.jsonl
for f in a.txt b.jsonl; do "$PACK" gz $f $f.gz; "$PACK" zst $f $f.zst; cat $f.gz >${f%.*}_gz.bin; done
head -30 a.txt >a1.txt; tail -30 a.txt >a2.txt
for p in gz zst; do "$PACK" $p a1.txt a1.$p; "$PACK" $p a2.txt a2.$p; cat a1.$p a2.$p >joined.txt.$p; done
"$PACK" zip a.zip deep/a.txt a.txt
"$PACK" zip b.zip x/b.jsonl b.jsonl y/picture.png a.txt
"$PACK" zip both.zip 1.txt a1.txt 2.raw a2.txt
"$PACK" zip inner.zip b.jsonl.gz b.jsonl.gz

harvest() { "$LETHE" harvest --model "$model" --layer 1 --ctx-len 32 --quiet "$@"; }
same() { # same PLAIN OPTIONS..: the rows of harvest --text PLAIN
    local plain=$1
    shift
    ok harvest "$@" --out got.safetensors
    check "$* gives the rows of $plain" cmp -s "$plain.want" got.safetensors
}
for f in a.txt b.jsonl; do
    ok harvest --text $f --out want.safetensors
    mv want.safetensors $f.want
    same $f --text $f.gz
    same $f --text $f.zst
    same $f --text "./${f%%.*}.*gz" # a pattern that only this file matches
    checks=$((checks + 1))
    harvest --text - --out got.safetensors <$f >out 2>err || fail "standard input: $(cat err)"
    check "standard input gives the rows of $f" cmp -s $f.want got.safetensors
    harvest --text - --out got.safetensors <$f.zst >out 2>err || fail "standard input, packed: $(cat err)"
    check "packed standard input gives the rows of $f" cmp -s $f.want got.safetensors
    harvest --text <(cat $f.gz) --out got.safetensors >out 2>err || fail "a pipe: $(cat err)"
    check "a pipe gives the rows of $f" cmp -s $f.want got.safetensors
done
same a.txt --text a_gz.bin
same a.txt --text crlf.txt
same a.txt --text bom.txt
same a.txt --text joined.txt.gz
same a.txt --text joined.txt.zst
same a.txt --text a.zip
same a.txt --text a.zip/deep/a.txt
same a.txt --text 'a.zip/*.txt'
same a.txt --text b.zip/y/picture.png # named: taken, whatever its name
same b.jsonl --text b.zip
same b.jsonl --text inner.zip
same b.jsonl --text bom.jsonl
cp b.jsonl b.json
same b.jsonl --text b.json
ok harvest --text a1.txt a2.txt --out want.safetensors
mv want.safetensors parts.want
same parts --text both.zip
mkdir folder && cp a1.gz folder/1.gz && cp a2.zst folder/2.zst
same parts --text folder
same parts --text 'folder/*'
same parts --text 'a[12].txt'

# ---- other fields
sed 's/"text"/"title"/; s/"body"/"text"/' b.jsonl >swapped.jsonl
ok harvest --text swapped.jsonl --out want.safetensors
mv want.safetensors body.want
same body --text b.jsonl --text-field body
same body --text b.jsonl --text-field none,body,text
sed 's/^/{"id": "x", "data": /; s/$/}/' swapped.jsonl >nested.jsonl
same body --text nested.jsonl --text-field data.text
expect 3 'nested.jsonl:1: neither "text" nor "messages" in this object, which has "id", "data" (name the one with the text: --text-field NAME)' \
    harvest --text nested.jsonl --out no.safetensors
expect 2 "--text-field: got \"\"" harvest --text b.jsonl --text-field "" --out no.safetensors

# ---- a run: its settings hold whatever the texts are named by, and packing changes no key
run_with() { "$LETHE" train --model "$model" --layer 1 --out run --ctx-len 32 --epochs 1 --expansion 2 --k 4 --quiet "$@"; }
ok run_with --forget a.txt --retain 'both.zip/*' b.jsonl
cp run/sae.safetensors first.safetensors
ok run_with --forget a.zip --retain "both.zip/[12]*" b.jsonl.gz --json
check "the same texts, packed, are the run that was done" grep -q '"reused": true' out
mkdir elsewhere
(cd elsewhere && "$LETHE" train --out ../run --json >../out 2>../err) || fail "from another folder: $(cat err)"
check "patterns and members are found from another folder" grep -q '"reused": true' out
ok run_with --forget a.zip --retain "both.zip/[12]*" b.jsonl.gz --text-field body --json
check "another field is another training" grep -q '"reused": false' out
checks=$((checks + 1))
cat a.txt | "$LETHE" train --model "$model" --layer 1 --out piped --ctx-len 32 --epochs 1 --expansion 2 --k 4 --quiet \
    --forget - --retain 'both.zip/*' b.jsonl >out 2>err || fail "a run from standard input: $(cat err)"
check "standard input trains the same SAE" cmp -s piped/sae.safetensors first.safetensors
expect 2 "standard input (-) can be one text only; it is named by --forget and by --retain" \
    run_with --forget - --retain -
expect 2 "it is named by --text and by --text" harvest --text - - --out no.safetensors

# ---- bad files: one message, exit status 3
bad() { # bad "text" FILE
    expect 3 "$1" harvest --text "$2" --out no.safetensors
    check "one line about $2" [ "$(grep -c . err)" -eq 1 ]
}
for f in a.txt.gz a.txt.zst; do
    size=$(stat -c %s $f)
    head -c $((size / 2)) $f >cut.$f
    bad "cut.$f: cut off" cut.$f
    { cat $f; echo more; } >tail.$f
    bad "tail.$f: other bytes behind" tail.$f
    { head -c $((size - 3)) $f; printf '\x55'; tail -c 2 $f; } >sum.$f
    bad "sum.$f: damaged" sum.$f
done
size=$(stat -c %s a.zip)
for n in 4 30 200 $((size / 2)) $((size - 1)); do
    head -c "$n" a.zip >cut.zip
    bad "cut.zip: not a whole zip archive" cut.zip
done
bad 'a.zip: no member is "none"; it has "deep/a.txt"' a.zip/none
bad 'b.zip: no member is "*.txt"' 'b.zip/*.txt'
bad "a.txt: not a whole zip archive" a.txt/member
bad "nothing*: no file matches this pattern" 'nothing*'
"$PACK" zip junk.zip ../../up.txt "$LETHE"
bad "junk.zip/../../up.txt: not UTF-8 text" junk.zip
check "no file of a hostile member" [ ! -e ../../up.txt ]
printf 'PAR1\x15\x04PAR1' >t.parquet
bad "t.parquet: is Parquet; want text or JSON lines (convert it: python3 -c 'import pandas" t.parquet
mkdir mixed && cp a.txt t.parquet mixed
bad "mixed/t.parquet: is Parquet" mixed
printf '\xfd7zXZ\x00' >t.xz
bad "t.xz: is packed with xz" t.xz
printf '\xff\xfeh\x00i\x00' >t16.txt
bad "t16.txt: is UTF-16 text" t16.txt
echo '[{"text": "a"}]' >array.json
bad "array.json: one JSON document; want JSON lines" array.json
check "no file of a failed harvest" [ ! -e no.safetensors ]
expect 3 "standard input: is a zip archive" harvest --text - --out no.safetensors <a.zip

# A bomb: 64 MiB of one letter in 64 KiB; memory stays what it was.
head -c 67108864 /dev/zero | tr '\0' 'a' >bomb.txt
"$PACK" gz bomb.txt bomb.gz
rm bomb.txt
checks=$((checks + 1))
# A sanitizer reserves more address space than any limit.
(ulimit -v "${ADDRESS_SPACE:-4000000}"; harvest --text bomb.gz --max-tokens 2000 --out bomb.safetensors >out 2>err) || fail "a bomb: $(cat err)"

# Standard input that does not fit the disk.
mkdir -p small && full() { (ulimit -f 64; "$@"); }
checks=$((checks + 1))
head -c 200000 /dev/zero | tr '\0' 'a' | full harvest --text - --out no.safetensors >out 2>err
[ $? -eq 1 ] || fail "a full disk: $(cat err)"
check "says what to do" grep -q "standard input: keeping it in .* failed after .*set TMPDIR" err
finish
