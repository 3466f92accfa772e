#!/bin/sh
# Start the server in its container. Without AUTOCODE_API_KEY, create a key once and store it in the volume.
set -eu
umask 077
key="$AUTOCODE_HOME/api-key"
if [ -z "${AUTOCODE_API_KEY:-}" ]; then
  [ -s "$key" ] || python -c 'import secrets; print(secrets.token_urlsafe(24))' >"$key"
  AUTOCODE_API_KEY="$(cat "$key")"
  export AUTOCODE_API_KEY
  echo "AUTOCODE_API_KEY is not set. The server uses the key in $key of this container."
fi
exec autocode serve
