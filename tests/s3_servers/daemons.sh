# daemons.sh NAME DIR PORT GRACE: what start-*.sh have in common; they source it.
# Prepares DIR, which only one start may use at a time, and checks that PORT is free. GRACE are the
# seconds until a daemon that does not stop is killed.
NAME=$1 PORT=$3 GRACE=$4
mkdir -p "$2" || exit 1
DIR=$(cd "$2" && pwd -P) || exit 1
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C.UTF-8
unset PYTHONPATH PYTHONHOME
began=$(date +%s.%N)
names=() pids=()

stop_all() {
    trap '' TERM INT HUP
    local i pid n
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do        # last started, first stopped
        pid=${pids[i]}
        kill -TERM "$pid" 2>/dev/null || continue
        for ((n = 0; n < GRACE * 10; n++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        if kill -0 "$pid" 2>/dev/null; then
            echo "$NAME: ${names[i]} did not stop in $GRACE s, killed" >&2
            kill -KILL "$pid" 2>/dev/null
        fi
        wait "$pid" 2>/dev/null
    done
}
die() { echo "$NAME: $*" >&2; stop_all; exit 1; }
trap 'stop_all; exit 0' TERM INT HUP

launch() {      # NAME COMMAND...: own session, and it dies if this script is killed
    local name=$1; shift
    setsid setpriv --pdeathsig TERM "$@" >>"$DIR/log/$name.out" 2>&1 </dev/null &
    names+=("$name") pids+=($!)
}
alive() {
    local i
    for i in "${!pids[@]}"; do
        kill -0 "${pids[i]}" 2>/dev/null ||
            die "${names[i]} ended early; see $DIR/log: $(tail -n 3 "$DIR/log/${names[i]}.out")"
    done
}
# until_responds TRIES PATH PORT...: poll until the server on $PORT responds to PATH without a server
# error, and the other ports accept connections.
until_responds() {
    local n tries=$1; shift
    for ((n = 0; ; n++)); do
        alive
        /usr/bin/python3 -c '
import http.client, socket, sys
path, port, *others = sys.argv[1:]
for p in others: socket.create_connection(("127.0.0.1", int(p)), 5).close()
c = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
c.request("GET", path); sys.exit(c.getresponse().status >= 500)' "$@" 2>/dev/null && break
        [ $n -lt "$tries" ] || die "the server did not respond"
        sleep 0.2
    done
}
# ready KEY SECRET: say so, and stay until a daemon ends.
ready() {
    printf '%s\n' "${pids[@]}" >"$DIR/pids"
    printf 'ready endpoint=http://127.0.0.1:%s key=%s secret=%s region=us-east-1 seconds=%.1f\n' \
        "$PORT" "$1" "$2" \
        "$(/usr/bin/python3 -c 'import sys,time; print(time.time()-float(sys.argv[1]))' "$began")"
    wait -n "${pids[@]}"
    alive
    die "a daemon ended"
}

umask 077
exec 9>"$DIR/lock"      # the daemons inherit it: held until the last one is gone
flock -n 9 || { echo "$NAME: $DIR is in use" >&2; exit 1; }
/usr/bin/python3 -c '
import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen()' "$PORT" 2>/dev/null ||
    { echo "$NAME: port $PORT is taken" >&2; exit 1; }
