#!/usr/bin/env bash
# lethe serve: what bad input gets, several patches, wrong usage, and a stop that lets answers end.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/serve_lib.sh"

serve --max-body 65536 --slots 4
ok "$SERVE_BAD" "$url" $server
cat out err
wait $server
check "SIGTERM ends it with status 0" [ $? -eq 0 ]
check "no run directory is made" [ ! -e runs ]

# Several patches: a name each, and one for all.
cp "$demo/patch.safetensors" one.safetensors
cp "$demo/patch.safetensors" Two.safetensors
"$LETHE" serve --port 0 --model "$model" --patch one.safetensors Two.safetensors >names 2>&1 &
server=$!
for _ in $(seq 300); do
    [ "$(wc -l <names)" -ge 5 ] && break
    sleep 0.1
done
check "a name each" grep -qx '  lethe-demo:forget:one' names
check "in lower case" grep -qx '  lethe-demo:forget:two' names
stop

# What the options say is what is done.
prompts=$(printf '"Once upon a time",%.0s' {1..16})
long="{\"model\":\"lethe-demo\",\"prompt\":[${prompts%,}],\"max_tokens\":250,\"n\":16}"
serve --api-key sesame --cors https://page.example --queue 0 --slots 1 --time-limit 2
page="Origin: https://page.example" key="Authorization: Bearer sesame"
ok "$ASK" "$url" /v1/models "" "$key"
check "the key opens" grep -q ' 200 ' out
ok "$ASK" "$url" /v1/models ""
check "no key: 401" grep -q '"invalid_api_key"' out
ok "$ASK" "$url" /v1/models "" "$key" "$page"
check "--cors lets its origin in" grep -q '^Access-Control-Allow-Origin: https://page.example' out
ok "$ASK" "$url" /v1/models "" "$key" "Origin: https://other.example"
check "and no other" grep -q '"origin_not_allowed"' out
"$ASK" "$url" /v1/completions "$long" "$key" >long &
asked=$!
for _ in $(seq 100); do
    "$ASK" "$url" /metrics "" "$key" | grep -q '^lethe_slots_busy 1' && break
    sleep 0.02
done
ok "$ASK" "$url" /v1/completions "$long" "$key"
check "--queue: 429, come again" bash -c "grep -q '\"queue_full\"' out && grep -q '^Retry-After: 1' out"
wait $asked
tokens=$(sed -n 's/.*"completion_tokens":\([0-9]*\).*/\1/p' long)
check "--time-limit: it ends where it is, with all 256 answers" [ "$(grep -o '"finish_reason":"[a-z]*"' long | wc -l)" -eq 256 ]
check "and long before it is whole: ${tokens:-none} tokens" [ "${tokens:-64000}" -lt 60000 ]
stop

# The address is warned of, once.
serve --host 0.0.0.0
check "warns of other machines" grep -q "warning: listening on 0.0.0.0: other machines reach it, and no --api-key" serve.err
port=${url##*:}
expect 1 "cannot listen on 127.0.0.1 port $port" timeout 60 "$LETHE" serve --port "$port"
stop

expect 2 "--port: got 70000" "$LETHE" serve --port 70000
expect 2 "--slots: got 0" "$LETHE" serve --slots 0
expect 2 "--queue: got -1" "$LETHE" serve --queue -1
expect 2 "--time-limit: got 0" "$LETHE" serve --time-limit 0
expect 2 "--cors: got \"example.org\"" "$LETHE" serve --cors example.org
expect 2 "--host nowhere.invalid" "$LETHE" serve --host nowhere.invalid
expect 3 "no removal there" "$LETHE" serve --out nothing
expect 2 "--temperature is not an option" "$LETHE" serve --temperature 1
finish
