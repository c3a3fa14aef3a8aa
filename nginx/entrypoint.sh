#!/bin/sh
# Render the nginx configuration from environment variables, then run nginx.
#
#   Variable                               Meaning                                        Default
#   API_UPSTREAM                           host:port of the API                           api:8080
#   HTTP_PORT, HTTPS_PORT                  ports to listen on                             8080, 8443
#   TLS_CERTIFICATE, TLS_CERTIFICATE_KEY   files; when empty, nginx serves plain HTTP     empty
#   TRUSTED_PROXY                          network whose X-Forwarded-* is trusted         none
#   OPERATOR_NETWORK                       network that may read /metrics, /health and    none
#                                          /v1/admin
#   CORS_ORIGINS                           origins whose pages may read nginx's errors;   none
#                                          same as the API's setting
#   REQUEST_RATE, REQUEST_BURST            request limit per client address               150r/s, 300
#   CREATE_RATE, CREATE_BURST              the same for calls that create jobs            20r/s, 100
#   CHECK_RATE, CHECK_BURST                the same for checks whether files are          10r/s, 100
#                                          available
#   CONNECTIONS_PER_ADDRESS                connection limit per client address            512
#   STREAMS_PER_ADDRESS                    live stream limit per client address           256
#   MAX_BODY_BYTES                         largest request body; same as the API's limit  65536
#   WORKER_PROCESSES                       nginx processes, each with 16,384 connections  2
#   KEEPALIVE_TIMEOUT                      how long idle client connections stay open     100s
#   WEB_ROOT                               directory of the built web pages               /srv/web
#   STORAGE_URL                            object storage that archives are fetched from  none
#                                          with DELIVERY=proxy: scheme and host
#   STORAGE_CA_BUNDLE                      certificate authorities of an https storage    those of the system
#   RESOLVER                               DNS server                                     from /etc/resolv.conf
#   ACCESS_LOG                             access log file                                /dev/stdout
#   RUN_DIR                                rendered configuration, PID file and buffers   /tmp/nginx
#   NGINX_BINARY                           nginx executable                               nginx
set -eu

# TEST-NET-1 (RFC 5737): an address that no client can have.
nobody=192.0.2.1/32
nameserver=$(awk '/^nameserver/ { print $2; exit }' /etc/resolv.conf 2>/dev/null || true)

: "${API_UPSTREAM:=api:8080}" "${HTTP_PORT:=8080}" "${HTTPS_PORT:=8443}"
: "${TLS_CERTIFICATE:=}" "${TLS_CERTIFICATE_KEY:=}"
: "${TRUSTED_PROXY:=$nobody}" "${OPERATOR_NETWORK:=$nobody}"
: "${CORS_ORIGINS:=}"
: "${REQUEST_RATE:=150r/s}" "${REQUEST_BURST:=300}"
: "${CREATE_RATE:=20r/s}" "${CREATE_BURST:=100}"
: "${CHECK_RATE:=10r/s}" "${CHECK_BURST:=100}"
: "${CONNECTIONS_PER_ADDRESS:=512}" "${STREAMS_PER_ADDRESS:=256}" "${MAX_BODY_BYTES:=65536}"
: "${KEEPALIVE_TIMEOUT:=100s}" "${WORKER_PROCESSES:=2}"
: "${STORAGE_URL:=}" "${STORAGE_CA_BUNDLE:=/etc/ssl/certs/ca-certificates.crt}"
: "${WEB_ROOT:=/srv/web}" "${RESOLVER:=${nameserver:-127.0.0.1}}" "${ACCESS_LOG:=/dev/stdout}"
: "${RUN_DIR:=/tmp/nginx}" "${NGINX_BINARY:=nginx}"
case $RESOLVER in *:*:*) RESOLVER="[$RESOLVER]" ;; esac

# The parts of STORAGE_URL. The Host header is signed: lower case, without a default port.
STORAGE_SCHEME=${STORAGE_URL%%://*} STORAGE_HOST='' STORAGE_NAME='' STORAGE_SERVER=''
if [ -n "$STORAGE_URL" ]; then
    STORAGE_HOST=$(echo "${STORAGE_URL#*://}" | tr '[:upper:]' '[:lower:]')
    STORAGE_HOST=${STORAGE_HOST%/}
    case $STORAGE_URL in
        http://* | https://*) ;;
        *) echo "STORAGE_URL=$STORAGE_URL must begin with http:// or https://" >&2 && exit 1 ;;
    esac
    case $STORAGE_HOST in
        '' | *[!a-z0-9.:_-]*)
            echo "STORAGE_URL=$STORAGE_URL must be scheme://host or scheme://host:port" >&2
            exit 1
            ;;
    esac
    port=80
    [ "$STORAGE_SCHEME" = http ] || port=443
    STORAGE_HOST=${STORAGE_HOST%":$port"}
    STORAGE_NAME=${STORAGE_HOST%:*}
    case $STORAGE_HOST in
        *:*) STORAGE_SERVER=$STORAGE_HOST ;;
        *) STORAGE_SERVER=$STORAGE_HOST:$port ;;
    esac
fi

# The origins as a map of nginx, one line for each.
case $CORS_ORIGINS in
    *[!A-Za-z0-9:/.,\[\]*\ _-]*) echo "CORS_ORIGINS=$CORS_ORIGINS is invalid" >&2 && exit 1 ;;
esac
mkdir -p "$RUN_DIR/tmp" "$RUN_DIR/cors"
CORS_VARY=''
case ,$(echo "$CORS_ORIGINS" | tr -d ' '), in
    *,\*,*) echo 'default "*";' ;;
    *)
        [ -z "$CORS_ORIGINS" ] || CORS_VARY=Origin
        echo 'default "";'
        echo "$CORS_ORIGINS" | tr -s ', ' '\n\n' | sed -n 's|..*|"&" "&";|p'
        ;;
esac >"$RUN_DIR/cors/origins.conf"

script='' value=''
for name in API_UPSTREAM HTTP_PORT HTTPS_PORT TLS_CERTIFICATE TLS_CERTIFICATE_KEY TRUSTED_PROXY \
    OPERATOR_NETWORK REQUEST_RATE REQUEST_BURST CREATE_RATE CREATE_BURST CHECK_RATE CHECK_BURST \
    CONNECTIONS_PER_ADDRESS STREAMS_PER_ADDRESS MAX_BODY_BYTES KEEPALIVE_TIMEOUT WEB_ROOT RESOLVER \
    WORKER_PROCESSES ACCESS_LOG CORS_VARY RUN_DIR STORAGE_SCHEME STORAGE_HOST STORAGE_NAME \
    STORAGE_SERVER STORAGE_CA_BUNDLE; do
    eval "value=\$$name"
    script="$script;s|@$name@|$value|g"
done

source=$(dirname "$0")
(cd "$source" && find . -name '*.conf' -o -name '*.js') | while read -r file; do
    mkdir -p "$RUN_DIR/$(dirname "$file")"
    sed "$script" "$source/$file" >"$RUN_DIR/$file"
done
if [ -n "$TLS_CERTIFICATE" ]; then
    rm "$RUN_DIR/servers/plain.conf"
else
    rm "$RUN_DIR/servers/tls.conf"
fi
modules=''
if [ -z "$STORAGE_URL" ]; then
    rm "$RUN_DIR/http/storage.conf" "$RUN_DIR/storage/location.conf"
else
    # Not there if njs is compiled into nginx.
    module=/usr/lib/nginx/modules/ngx_http_js_module.so
    [ ! -e "$module" ] || modules="load_module $module;"
fi
[ "$STORAGE_SCHEME" = https ] || rm "$RUN_DIR/storage/tls/verify.conf"

# Raise the open-file limit to the host's maximum. The usual 1,024 would allow only 500 streams.
# shellcheck disable=SC3045  # Not in POSIX, but dash and busybox support it.
ulimit -n "$(ulimit -Hn)"
exec "$NGINX_BINARY" -p "$RUN_DIR" -c "$RUN_DIR/nginx.conf" -g "daemon off; $modules ${NGINX_GLOBALS:-}" "$@"
