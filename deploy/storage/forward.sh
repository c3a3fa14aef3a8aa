#!/bin/sh
# Forward a port to the object storage, with nginx.
#
#   Variable   Meaning                                  Default
#   STORAGE    host:port of the object storage          required
#   PORT       port to listen on                        8333
#   WORKER_PROCESSES  nginx processes                   2
#   RUN_DIR    rendered configuration                   /tmp
#   RESOLVER   DNS server                               from /etc/resolv.conf
set -eu
nameserver=$(awk '/^nameserver/ { print $2; exit }' /etc/resolv.conf)
: "${PORT:=8333}" "${WORKER_PROCESSES:=2}" "${RUN_DIR:=/tmp}" "${RESOLVER:=${nameserver:-127.0.0.1}}"
case $RESOLVER in *:*:*) RESOLVER="[$RESOLVER]" ;; esac
sed "s|@STORAGE@|$STORAGE|; s|@PORT@|$PORT|; s|@WORKER_PROCESSES@|$WORKER_PROCESSES|; s|@RESOLVER@|$RESOLVER|" \
    "$(dirname "$0")/forward.conf" >"$RUN_DIR/forward.conf"
exec "${NGINX_BINARY:-nginx}" -p "$RUN_DIR" -c "$RUN_DIR/forward.conf" -g "daemon off; ${NGINX_GLOBALS:-}"
