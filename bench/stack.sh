# Sourced by benchmarks: starts and stops a release stack on free ports in a temporary directory.
# Sets HTTP, HTTPS, ADMIN, DATA and STACK_PID.

stack_start() {
    DATA=$(mktemp -d)/data
    local ready=$DATA.ready.json
    "${SEGUE:-${CARGO_TARGET_DIR:-$HOME/.cache/segue/target}/release/segue}" up --data "$DATA" \
        --http 127.0.0.1:0 --https 127.0.0.1:0 --admin 127.0.0.1:0 --ready-file "$ready" \
        "$@" >"$DATA.log" 2>&1 &
    STACK_PID=$!
    for _ in $(seq 1200); do
        [ -s "$ready" ] && break
        kill -0 "$STACK_PID" 2>/dev/null || { cat "$DATA.log" >&2; return 1; }
        sleep 0.1
    done
    read -r HTTP HTTPS ADMIN < <(python3 -c '
import json, sys
a = json.load(open(sys.argv[1]))
print(a["http"], a["https"], a["admin"])' "$ready")
}

stack_stop() {
    kill -TERM "$STACK_PID" 2>/dev/null || true
    wait "$STACK_PID" 2>/dev/null || true
    rm -rf "$(dirname "$DATA")"
}
