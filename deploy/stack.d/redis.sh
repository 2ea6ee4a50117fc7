# shellcheck shell=bash
# Redis: a password, no file on disk, and no key that goes by itself.

redis_is_installed() {
  local version
  version=$(redis-server --version 2>/dev/null) && [[ $version =~ v=([0-9.]+) ]] && at_least 7 "${BASH_REMATCH[1]}" &&
    command -v redis-cli >/dev/null
}

redis_ports() { echo "redis 16379"; }

redis_ready() {
  [[ $(REDISCLI_AUTH=$(recall redis.password) redis-cli -h 127.0.0.1 -p "$(port redis)" ping 2>/dev/null) == PONG ]]
}

redis_stop_signal() { echo TERM; }

redis_serve() {
  cat >"$dir/redis/redis.conf" <<CONF
bind 127.0.0.1
port $(port redis)
requirepass $(recall redis.password)
dir "$dir/redis"
save ""
appendonly no
maxmemory 256mb
maxmemory-policy noeviction
CONF
  become redis-server "$dir/redis/redis.conf"
}
