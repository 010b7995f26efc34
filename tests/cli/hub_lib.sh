# Shared by the tests of pull and push. Usage: . hub_lib.sh, after lib.sh: nothing of the caller's Hub is left.
: "${STUB_HUB:?}"
unset HF_TOKEN HF_HOME HF_HUB_CACHE HF_ENDPOINT HF_HUB_OFFLINE HF_TOKEN_PATH HUGGING_FACE_HUB_TOKEN HUGGINGFACE_HUB_CACHE XDG_CACHE_HOME
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY
export HOME=$PWD/home
mkdir -p home

# hub: starts a Hub of the files in root/; its address in $at, its ports in $hub_port and $cdn_port.
hub() {
    "$STUB_HUB" port log "$PWD/root" &
    server=$!
    trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
    for _ in $(seq 100); do [ -s port ] && break; sleep 0.05; done
    read -r hub_port cdn_port <port
    at=http://127.0.0.1:$hub_port
}
