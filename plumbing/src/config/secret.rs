//! Which settings are secret, by their names: nobody has to remember to mark a new one.

/// Takes the place of a secret.
pub(super) const REDACTED: &str = "(redacted)";

/// In the name of a setting that can hold a secret.
const WORDS: &[&str] = &["config", "jaas", "key", "password", "pem", "secret", "token", "username"];
/// At the end of a name that only says where a secret is.
const PLACES: &[&str] = &["_file", "_files", "location"];

/// Whether the value of a key (dotted, or its last part) is never printed.
pub fn is_secret(key: &str) -> bool {
    let name = last_part(key);
    WORDS.iter().any(|word| name.contains(word)) && !PLACES.iter().any(|place| name.ends_with(place))
}

/// The text of a setting as it may be printed. An address shows where, and neither user, password nor parameters.
pub fn redacted(key: &str, text: &str) -> String {
    if is_secret(key) {
        return REDACTED.to_owned();
    }
    if last_part(key) == "url" && text.contains(['@', '?']) {
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        return format!("{scheme}:{REDACTED}");
    }
    text.to_owned()
}

/// Properties of librdkafka have dots in their names, and all of a name counts.
fn last_part(key: &str) -> &str {
    let key = key.trim_end_matches(|end: char| matches!(end, '[' | ']') || end.is_ascii_digit());
    match key.split_once("kafka.properties.") {
        Some((_, property)) => property,
        None => key.rsplit('.').next().unwrap_or(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_names_a_secret_is_redacted_and_one_that_says_where_it_is_is_not() {
        for secret in ["signing_key", "opening_keys[1]", "kafka.properties.sasl.password", "sasl.jaas.config"]
        {
            assert!(is_secret(secret), "{secret}");
        }
        for plain in
            ["signing_key_file", "opening_key_files[0]", "kafka.properties.ssl.key.location", "kafka.brokers"]
        {
            assert!(!is_secret(plain), "{plain}");
        }
        assert_eq!(redacted("postgres.url", "postgres://me:hunter2@host/db"), "postgres:(redacted)");
        assert_eq!(redacted("postgres.url", "postgres:///db?password=hunter2"), "postgres:(redacted)");
        assert_eq!(redacted("hub.url", "http://127.0.0.1:8490"), "http://127.0.0.1:8490");
    }
}
