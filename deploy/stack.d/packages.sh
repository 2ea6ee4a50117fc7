# shellcheck shell=bash
# What has to be installed: found, installed where that is possible, otherwise named.

missing_packages() {
  kafka_has_java || echo openjdk-17-jre-headless
  kafka_has_jars || command -v mvn >/dev/null || echo maven
  postgres_programs >/dev/null || echo postgresql
  redis_is_installed || echo redis-server
  command -v openssl >/dev/null || echo openssl
  # No server: the tests ask it about deploy/systemd.
  command -v systemd-analyze >/dev/null || echo systemd
  [[ -z $with_prometheus ]] || prometheus_is_installed || echo prometheus
  # For the second verifier of the audit log.
  command -v node >/dev/null || echo nodejs
}

# `promtool` comes with it. Nothing here starts it: the tests that need it run one of their own.
prometheus_is_installed() { command -v prometheus >/dev/null && command -v promtool >/dev/null; }

ensure_packages() {
  local packages
  mapfile -t packages < <(missing_packages)
  ((${#packages[@]})) || return 0
  local command="apt-get install -y --no-install-recommends ${packages[*]}"
  if [[ $UID != 0 ]] || ! command -v apt-get >/dev/null; then
    fail "$UNAVAILABLE" "something is missing; install it as root: $command"
  fi
  say "installing ${packages[*]}"
  install_packages "${packages[@]}"
  mapfile -t packages < <(missing_packages)
  ((${#packages[@]} == 0)) || fail "$UNAVAILABLE" "still missing, or too old (Java 17, PostgreSQL 15, Redis 7): ${packages[*]}"
}

# Debian starts a packaged server as it is installed. Nobody asked for that one, and nobody would stop it.
install_packages() (
  policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "$@"
  } >&2
)

at_least() { # lowest major version, version
  [[ $2 =~ ^([0-9]+) ]] && ((BASH_REMATCH[1] >= $1))
}
