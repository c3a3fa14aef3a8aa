#!/bin/sh
# Fills in alertmanager.yml and starts Alertmanager. Alertmanager itself reads no variables.
#
#   ALERT_WEBHOOK_URL  receives alerts as JSON (POST); empty: alerts are only shown
set -eu

directory=${ALERTMANAGER_CONFIG_DIRECTORY:-/tmp}
receiver=none
if [ -n "${ALERT_WEBHOOK_URL:-}" ]; then
  receiver=webhook
else
  echo "ALERT_WEBHOOK_URL is not set: alerts appear only on the page of this server" >&2
fi
url=$(printf %s "${ALERT_WEBHOOK_URL:-http://127.0.0.1:9}" | sed 's/[&|\\]/\\&/g')
umask 077 # The URL may be a credential.
sed -e "s|@RECEIVER@|$receiver|" -e "s|@WEBHOOK_URL@|$url|" \
  "$(dirname "$0")/alertmanager.yml" >"$directory/alertmanager.yml"
exec "${ALERTMANAGER:-/bin/alertmanager}" --config.file="$directory/alertmanager.yml" "$@"
