//! The one table of stable codes: what a person, an operator or a program can be told.

use std::fmt;

/// Builds [`Code`] and its table from one list, so that no code lacks a status or a text.
macro_rules! codes {
    ($($code:ident $status:literal $help:literal;)+) => {
        /// A stable code. The name is the wire form and never changes its meaning.
        #[allow(non_camel_case_types, missing_docs, clippy::upper_case_acronyms)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($code),+ }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$code),+];

            /// The wire form, UPPER_SNAKE.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$code => stringify!($code)),+ }
            }

            /// HTTP status where the code ends a request.
            pub fn status(self) -> u16 {
                match self { $(Code::$code => $status),+ }
            }

            /// What happened and what to do, in English, one sentence or two.
            pub fn help(self) -> &'static str {
                match self { $(Code::$code => $help),+ }
            }
        }
    };
}

codes! {
    // The request itself.
    MALFORMED_JSON 400 "The body is not valid JSON. Send one JSON object in UTF-8.";
    UNKNOWN_FIELD 400 "The body has a field that this interface does not know. Remove it; identity belongs into `identity` only.";
    FIELD_INVALID 422 "A field is missing or has a value of the wrong form. The detail names it.";
    BODY_TOO_LARGE 413 "The body is larger than this address takes.";
    UNSUPPORTED_MEDIA_TYPE 415 "The body must be sent as the media type that the interface documents.";
    UNAUTHENTICATED 401 "The caller did not prove who it is.";
    ROUTE_UNKNOWN 404 "There is no such address. See the list of addresses in the documentation.";
    METHOD_NOT_ALLOWED 405 "This address does not take this method.";
    QUERY_ID_INVALID 422 "A query id is a UUIDv7 in lower-case hyphenated form.";
    DUPLICATE_QUERY 409 "This query was accepted before, with the same content. Nothing was done; follow the one that runs.";
    ID_REUSED 409 "This id was used for a query with other content. Use a fresh id; the first query is untouched.";
    OUTCOME_UNKNOWN 503 "It is not known whether the query was taken. Send the same id again.";
    KAFKA_UNAVAILABLE 503 "Kafka did not take the query. Nothing was published; send the same id again later.";
    RATE_LIMITED 429 "Too many requests in a short time. Send it again after the seconds that Retry-After says.";
    HUB_UNAVAILABLE 503 "The hub did not answer. Try again later.";
    INTERNAL 500 "Something failed that should not. The query was not changed; tell the operator.";

    // Gates.
    REGION_NOT_OPEN 403 "The service is not open in this region yet.";
    COHORT_NOT_OPEN 403 "The service is open to a part of this region's people so far, and this person is not among them yet.";
    BANKS_NONE 422 "Choose at least one bank.";
    BANKS_TOO_MANY 422 "A query names at most 500 banks.";
    BANK_REPEATED 422 "A bank is named twice.";
    BANK_UNKNOWN 422 "A chosen bank does not take part.";
    BANK_NOT_ACTIVE 422 "A chosen bank is suspended or has left.";
    BANK_NOT_IN_REGION 422 "A chosen bank does not take part in this region.";
    ASSURANCE_TOO_LOW 403 "Only persons whose real name was verified may ask.";
    FACTORS_TOO_FEW 403 "Two factors of different kinds (knowledge, possession, inherence) are needed for every query.";
    FACTOR_TOO_OLD 403 "An authentication factor is too old. Authenticate again.";
    FACTOR_IN_FUTURE 422 "An authentication factor is later than the consent it belongs to.";
    PURPOSE_NOT_ALLOWED 403 "The only purpose is a person's own check against fraud.";

    QUERY_OPEN 409 "A query of this person is open. Follow it, or withdraw it, before another one is sent.";
    ASKED_RECENTLY 429 "This person had a report a short while ago. Ask again when the time between two queries is over.";

    // Holding.
    HELD_FOR_RISK 409 "The query is held because somebody may be pressing the person. No bank is asked until it is released after a time to think.";
    HOLD_NOT_OVER 409 "The time to think is not over yet. The query stays held.";
    HOLD_EXPIRED 410 "The held query was not released in time. Send a new query.";
    NOT_HELD 409 "There is no held query to release.";

    // Consent.
    CONSENT_TEXT_UNKNOWN 422 "The hash is not that of a consent text in force. Show the current text and ask again.";
    CONSENT_EXPIRED 422 "The consent had expired when the query arrived. Ask for a new one.";
    CONSENT_NOT_YET_VALID 422 "The consent was issued later than the query arrived. Check the clock.";
    CONSENT_TOO_LONG 422 "A consent is valid for at most 24 hours.";
    CONSENT_BANKS_MISMATCH 422 "The consent names other banks than the query.";
    CONSENT_ALREADY_USED 409 "This consent was used for another query. Each query needs its own.";
    WARNING_NOT_ACKNOWLEDGED 422 "The scam warning must be acknowledged before every query.";

    // Signatures, seals and the registry.
    MESSAGE_MALFORMED 400 "The message cannot be read.";
    MESSAGE_TOO_LARGE 413 "The message is larger than its topic allows.";
    WRONG_TOPIC 403 "The message names another party than the one whose topic it came through.";
    WRONG_RECORD_KEY 400 "The record's key is not the query id.";
    UPSTREAM_UNKNOWN 403 "The registry has no such upstream.";
    UPSTREAM_NOT_ACTIVE 403 "The upstream is suspended or has left.";
    PARTY_UNKNOWN 503 "The registry has no such party yet.";
    KEY_UNKNOWN 403 "The registry does not list this key for this party and use.";
    KEY_NOT_YET_VALID 403 "The key was not valid yet when the message was appended.";
    KEY_REVOKED 403 "The key was revoked when the message was appended.";
    KEY_INVALID 422 "The key is not a usable public key.";
    SIGNATURE_INVALID 403 "The signature does not fit the bytes.";
    DIGEST_MISMATCH 403 "A sealed part is not the one that was signed for.";
    STATEMENT_MISMATCH 403 "The statements of one query contradict each other.";
    SEAL_SUITE_UNKNOWN 403 "The sealed part uses a suite that is not in force.";
    SEAL_BROKEN 403 "The sealed part does not open: another key, another query, or altered bytes.";
    SEAL_CONTENT_TOO_LARGE 422 "The content does not fit the largest size that is sealed.";
    REGISTRY_ROOTS_TOO_FEW 403 "A registry entry needs two signatures of different pinned root keys.";
    REGISTRY_ROTATION_UNSIGNED 403 "New keys must also be signed with a key that the party already had.";
    REGISTRY_VERSION_OLD 409 "A higher version of this registry entry was seen.";
    REGISTRY_VERSION_REUSED 409 "This version of the registry entry was seen with other content.";
    REGISTRY_KEY_DROPPED 403 "A registry entry must keep every key that the party ever had.";

    // Requests to banks, and their replies.
    REQUEST_ID_WRONG 403 "The request id is not the one derived from upstream, query and bank.";
    REQUEST_TIME_IMPOSSIBLE 403 "The hub says it accepted the query before the consent was issued or after the request was appended, or leaves more than 24 hours to answer.";
    REPLY_BY_PASSED 410 "The time to answer is over.";
    QUERY_UNKNOWN 404 "The reply names a query that the hub does not have.";
    BANK_NOT_ASKED 403 "The reply comes from a bank that was not asked.";
    REPORT_KEY_MISMATCH 403 "The answer is sealed to another key than the query's report key.";
    OUTCOME_INVALID 400 "The reply's outcome does not fit its content.";
    BATCH_TOO_LARGE 400 "A batch has at most 1,024 replies.";
    BATCH_PROOF_INVALID 403 "The reply is not in the batch that the bank signed.";
    BATCH_TIME_IMPOSSIBLE 403 "The batch was signed before the query was accepted, or after it was appended.";
    SOURCE_UNAVAILABLE 503 "The bank's own system does not answer.";

    // Viewing.
    QUERY_NOT_FOUND 404 "There is no such query.";
    REPORT_NOT_READY 409 "The report is not ready yet.";
    REPORT_ERASED 410 "The report was erased after seven days.";
    QUERY_WITHDRAWN 410 "The consent was withdrawn.";
    QUERY_REJECTED 409 "The query was rejected; there is no report.";
    GRANT_EXPIRED 403 "The grant is older than two minutes. Enter the payment password again.";
    GRANT_INVALID 403 "The grant is not one for this query.";
    GRANT_USED 403 "The grant was used before. Enter the payment password again.";
    DEVICE_MISMATCH 403 "The report belongs to another device.";
    VIEW_LOCKED 429 "Five grants of this person were refused within the hour. Reports can be viewed again when the hour is over; Retry-After says when.";

    // Sending the SMS.
    GATEWAY_REFUSED 502 "The SMS gateway refused the message.";
    GATEWAY_OUTCOME_UNKNOWN 502 "It is not known whether the SMS gateway sent the message. It is not sent again.";
    GATEWAY_UNAVAILABLE 503 "The SMS gateway took no message for so long that the notice is too old. The SMS was not sent.";
    DELIVERY_FAILED 502 "The SMS was sent and did not arrive.";
    PHONE_LIMIT_REACHED 429 "This phone number got as many SMS today as one gets on a day. The SMS was not sent; the report is there.";
    OUT_ID_UNKNOWN 404 "There is no SMS with this out-id, or it was so long ago that it is forgotten.";
    CONTACT_UNREADABLE 422 "The sealed contact cannot be opened or holds no usable phone number.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Code {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_upper_snake_and_has_a_help_that_ends_as_a_sentence() {
        let mut seen = BTreeSet::new();
        for code in Code::ALL {
            let text = code.as_str();
            assert!(
                text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'),
                "{text}"
            );
            assert!(seen.insert(text), "{text} twice");
            assert!(code.help().ends_with('.'), "{text}");
            assert!((400..600).contains(&code.status()), "{text}");
        }
    }
}
