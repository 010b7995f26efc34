# Shared by the tests of lethe serve. Usage: . serve_lib.sh, after lib.sh.
export LETHE_DATA=$LETHE_SOURCE

# serve [options]: starts a server on any free port; its address in $url, its process in $server.
serve() {
    rm -f serve.json # of a server before this one
    "$LETHE" serve --port 0 --json "$@" >serve.json 2>serve.err &
    server=$!
    trap 'kill -9 $server 2>/dev/null; chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
    for _ in $(seq 600); do
        grep -qs '"url"' serve.json && break
        kill -0 $server 2>/dev/null || break
        sleep 0.1
    done
    url=$("$JSONGET" serve.json url) || fail "the server does not start: $(tail -3 serve.err)"
}

# stop: SIGTERM; it must end by itself, with status 0.
stop() {
    kill -TERM $server
    wait $server
    local ended=$?
    check "SIGTERM ends it with status 0, not $ended: $(tail -3 serve.err)" [ "$ended" -eq 0 ]
}
