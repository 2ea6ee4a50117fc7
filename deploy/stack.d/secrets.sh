# shellcheck shell=bash
# Passwords, and the certificate that the brokers show. Made once per stack; all of it is random.

create_secrets() {
  local name
  [[ -s $dir/passwords/admin.password ]] || password >"$dir/passwords/admin.password"
  for name in postgres redis; do
    [[ -s $dir/state/$name.password ]] || remember "$name.password" "$(password)"
  done
  # Sixteen bytes in URL-safe base 64; a leading minus would make an option of it.
  recall kafka.cluster >/dev/null || remember kafka.cluster "C$(openssl rand -base64 16 | tr '+/' '-_' | cut -c2-22)"
  [[ -d $dir/tls ]] || create_certificates
}

# Hexadecimal, so that it needs no quoting anywhere. No line break, because it is read whole.
password() { printf '%s' "$(openssl rand -hex 24)"; }

create_certificates() (
  rm -rf "$dir/tls.new"
  mkdir "$dir/tls.new"
  cd "$dir/tls.new"
  key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
  openssl req -x509 "${key[@]}" -days 3650 -subj '/CN=cardquery stack CA' -keyout ca.key -out ca.pem \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
  openssl req -new "${key[@]}" -subj "/CN=$BROKER_NAME" -keyout broker.key -out broker.csr
  printf '%s\n' "subjectAltName=${BROKER_ADDRESSES:-DNS:localhost,IP:127.0.0.1}" 'extendedKeyUsage=serverAuth,clientAuth' >extensions
  openssl x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile extensions -out broker.crt
  # Kafka's PEM key store: the key as PKCS#8, then the chain.
  cat broker.key broker.crt >broker.pem
  # Without its key the CA vouches for nobody else, and brokers trust each other by its signature.
  find . -type f ! -name ca.pem ! -name broker.pem -delete
  chmod 755 .
  chmod 644 ca.pem
  mv "$dir/tls.new" "$dir/tls"
) 2>"$dir/log/tls.log" || fail "$CANNOT_CREATE" "openssl cannot make certificates; see $dir/log/tls.log"
