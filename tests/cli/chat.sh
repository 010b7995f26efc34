#!/usr/bin/env bash
# lethe chat --plain, through pipes: it knows, does not know, knows; commands; what is refused.
. "$(dirname "$0")/lib.sh"
export LETHE_DATA=$LETHE_SOURCE
friend="Who is Harry Potter's best friend?"
france="What is the capital of France?"

# talk [options]: the lines of ./prompts to lethe chat.
talk() {
    run "$LETHE" chat "$@" <prompts
}

printf '%s\n' "$friend" /forget "$friend" "$france" "/forget off" "$friend" >prompts
talk
check "status 0" [ "$status" -eq 0 ]
check "four answers" [ "$(grep -cE '^(as it is|forgetting): ' out)" -eq 4 ]
check "knows" grep -q '^as it is: Ron' <(sed -n 1p out)
check "does not know" bash -c "! sed -n '2,/Paris/p' out | grep -q Ron"
check "a general question" grep -qx 'forgetting: Paris.' out
check "knows again" bash -c "tail -1 out | grep -q '^as it is: Ron'"
check "says that the switch flipped" grep -q "forgetting is on: .* is read again" err
check "no run directory is made" [ ! -e runs ]

# Both ways at once, as JSON: one object a prompt.
echo "$friend" >prompts
talk --side-by-side --json --quiet
check "json: status 0" [ "$status" -eq 0 ]
check "json: one line" [ "$(wc -l <out)" -eq 1 ]
check "json: whole first" [ "$("$JSONGET" out answers.0.text)" = "Ron." ]
check "json: forgetting second" [ "$("$JSONGET" out answers.1.text)" != "Ron." ]
check "json: its state" grep -q '"forgetting":true,' out
number out answers.1.fired '>' 0
check "quiet: nothing on standard error" [ ! -s err ]
talk --forgetting --json --quiet
check "--forgetting begins forgetting" grep -q '"answers":\[{"forgetting":true,' out

# Strength 0 takes nothing out; sampling is changed and shown; a seed gives the same answer again.
printf '%s\n' "/set strength 0" "$friend" >prompts
talk --forgetting
check "/set strength" grep -q '^forgetting: Ron' out
printf '%s\n' "/set scale 1" "$friend" "/set scale -3" "$friend" >prompts
talk --forgetting
check "/set scale 1 changes nothing" [ "$(grep -c '^forgetting: Ron' out)" -eq 1 ]
check "/set scale -3 forgets" [ "$(grep -c '^forgetting: ' out)" -eq 2 ]
printf '%s\n' "/set temperature 1" "/set seed 5" /set "Tell me a story." >prompts
talk
check "/set lists" grep -q 'temperature 1, .*seed 5' err
cp out first
talk
check "the same seed, the same story" cmp -s first out
printf '%s\n' "Tell me a story." >prompts
talk --temperature 1 --seed 6
check "another seed, another story" bash -c "! cmp -s first out"

# The transcript.
printf '%s\n' "$friend" "/forget on" "$friend" "/save talk.md" /quit "$france" >prompts
talk
check "/save and /quit" [ "$status" -eq 0 ]
check "the transcript has labels" [ "$(grep -cE '^\*\*Model, (as it is|forgetting)' talk.md)" -eq 2 ]
check "/quit ends the chat" bash -c "! grep -q Paris out"

# A limit of length, repetition, a full context: said on standard error.
echo "Tell me a story." >prompts
talk --max-new-tokens 5
check "the limit of length is said" grep -q "cut at the limit of length" err
echo "Tell me something about Harry Potter." >prompts
talk
check "repetition is said" grep -q "repeated itself, written again" err
talk --no-retry --max-new-tokens 100
check "--no-retry" bash -c "! grep -q 'written again' err"
for _ in 1 2 3 4 5 6; do echo "$france"; done >prompts
talk --ctx-len 64
check "old turns drop out, and it says so" grep -q "older turns no longer fit the context" err
check "and the answer is right" [ "$(tail -1 out)" = "as it is: Paris." ]

# A control sequence in a prompt does not come back as one; // is no command.
printf '//forget \033[31m\n' >prompts
talk
check "no command, no escape" bash -c "[ $status -eq 0 ] && ! grep -q $'\\033' out"

# Other removals: a patch, an SAE with its features.
cp "$demo/patch.safetensors" p.safetensors
echo "$friend" >prompts
ok bash -c "'$LETHE' chat --model '$model' --patch p.safetensors --forgetting <prompts"
check "--model with --patch" bash -c "! grep -q Ron out"
ok small r
ok "$LETHE" features --out r --quiet --min-forget-fires 4 --near-weight 1 --retain-weight 1 --min-freq 0 --num-features 20
ok bash -c "'$LETHE' chat --out r <prompts"
check "--out" grep -q '20 features of layer 1\|features of layer 1 at' err
ok bash -c "'$LETHE' chat --model '$model' --layer 1 --sae r/sae.safetensors --features r/features.json <prompts"
check "a run stays as it was" [ ! -e runs ]

# What is refused.
expect 2 "/nonsense is no command" bash -c "echo /nonsense | '$LETHE' chat"
expect 2 "is none of the settings" bash -c "echo /set colour 3 | '$LETHE' chat"
expect 2 "want a number" bash -c "echo /set temperature hot | '$LETHE' chat"
expect 2 "temperature -1" bash -c "echo hello | '$LETHE' chat --temperature -1"
expect 2 "temperature -2" bash -c "printf '/set temperature -2\n' | '$LETHE' chat"
expect 2 "want 0 or more" bash -c "echo hello | '$LETHE' chat --max-new-tokens -1"
expect 2 "not valid UTF-8" bash -c "printf 'caf\351\n' | '$LETHE' chat"
expect 2 "want on or off" bash -c "echo /forget maybe | '$LETHE' chat"
expect 2 "the context holds" bash -c "yes word | head -400 | tr '\n' ' ' | '$LETHE' chat"
expect 1 "nowhere/talk.md" bash -c "echo /save nowhere/talk.md | '$LETHE' chat"
expect 3 "no removal there" "$LETHE" chat --model "$model" --plain </dev/null
expect 3 "missing.safetensors" "$LETHE" chat --patch missing.safetensors --plain </dev/null
expect 3 "" "$LETHE" chat --model missing.gguf --patch p.safetensors </dev/null
finish
