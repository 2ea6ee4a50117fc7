//! The SMS topic as a ledger: what it says about every query's SMS, and what is written into it.

use std::collections::HashMap;

use prost::Message as _;
use schemas::codes::Code;
use schemas::ids::Reference;
use schemas::time::UnixMillis;
use schemas::wire::sms_record::Message;
use schemas::wire::{self, SmsRecord};

use super::sms::{self, Outcome, Told};

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The gateway is about to be called.
    Claimed,
    /// How it ended.
    Ended(Outcome),
}

impl Entry {
    /// Name of the message, for headers and ids.
    pub fn name(&self) -> &'static str {
        match self {
            Entry::Claimed => "SmsClaimed",
            Entry::Ended(Outcome::Sent { .. }) => "SmsAccepted",
            Entry::Ended(Outcome::Delivered) => "SmsDelivered",
            Entry::Ended(Outcome::Failed { .. } | Outcome::Undelivered) => "SmsFailed",
            Entry::Ended(Outcome::Unknown { .. }) => "SmsUnknown",
        }
    }

    /// The record. `attempt` counts from 1.
    pub fn record(&self, reference: &Reference, attempt: u32, at: UnixMillis) -> SmsRecord {
        let message = match self {
            Entry::Claimed => Message::Claimed(wire::SmsClaimed {}),
            Entry::Ended(Outcome::Sent { gateway_id }) => {
                Message::Accepted(wire::SmsAccepted { gateway_id: gateway_id.clone() })
            }
            Entry::Ended(Outcome::Delivered) => Message::Delivered(wire::SmsDelivered {}),
            Entry::Ended(Outcome::Undelivered) => {
                Message::Failed(wire::SmsFailed { code: Code::DELIVERY_FAILED.to_string() })
            }
            Entry::Ended(Outcome::Failed { code }) => {
                Message::Failed(wire::SmsFailed { code: code.to_string() })
            }
            Entry::Ended(Outcome::Unknown { code }) => {
                Message::Unknown(wire::SmsUnknown { code: code.to_string() })
            }
        };
        SmsRecord {
            reference: Some(reference.into()),
            out_id: sms::out_id(reference).to_wire(),
            at_ms: at.0,
            message: Some(message),
            attempt,
        }
    }

    fn of(message: Option<Message>) -> Self {
        match message {
            Some(Message::Claimed(_)) => Entry::Claimed,
            Some(Message::Accepted(accepted)) => {
                Entry::Ended(Outcome::Sent { gateway_id: accepted.gateway_id })
            }
            Some(Message::Delivered(_)) => Entry::Ended(Outcome::Delivered),
            Some(Message::Failed(failed)) => {
                let code = code(&failed.code, Code::GATEWAY_REFUSED);
                let arrived_not = code == Code::DELIVERY_FAILED;
                Entry::Ended(if arrived_not { Outcome::Undelivered } else { Outcome::Failed { code } })
            }
            Some(Message::Unknown(unknown)) => {
                Entry::Ended(Outcome::Unknown { code: code(&unknown.code, Code::GATEWAY_OUTCOME_UNKNOWN) })
            }
            // A newer notifier wrote something about this SMS, so it may have been sent.
            None => Entry::Ended(Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN }),
        }
    }
}

/// A newer notifier may have written a code that this one does not know.
pub(crate) fn code(text: &str, otherwise: Code) -> Code {
    Code::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(otherwise)
}

/// What the topic says so far.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    told: HashMap<Reference, Told>,
}

impl Ledger {
    /// Takes the value of one record. Records about other messages than this one are passed over.
    ///
    /// # Errors
    /// `MESSAGE_MALFORMED` and the codes of a broken reference, when it cannot be told whose SMS it is.
    pub fn take(&mut self, value: &[u8]) -> Result<(), Code> {
        let record = SmsRecord::decode(value).map_err(|_| Code::MESSAGE_MALFORMED)?;
        let reference = Reference::try_from(record.reference.as_ref())?;
        if record.out_id != sms::out_id(&reference).0.as_slice() {
            return Ok(());
        }
        let attempt = record.attempt.max(1);
        let outcome = match Entry::of(record.message) {
            Entry::Claimed => None,
            Entry::Ended(outcome) => Some(outcome),
        };
        let told = self.told.entry(reference).or_default();
        *told = std::mem::take(told).and(attempt, outcome);
        Ok(())
    }

    /// Closes the books at the end of the topic.
    pub fn close(self) -> impl Iterator<Item = (Reference, Told)> {
        self.told.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixMillis = UnixMillis(7);

    fn reference() -> Reference {
        Reference { upstream: "wallet".parse().expect("an id"), query: schemas::ids::QueryId::generate() }
    }

    fn entries() -> [Entry; 6] {
        [
            Entry::Claimed,
            Entry::Ended(Outcome::Sent { gateway_id: "g-1".into() }),
            Entry::Ended(Outcome::Delivered),
            Entry::Ended(Outcome::Undelivered),
            Entry::Ended(Outcome::Failed { code: Code::CONTACT_UNREADABLE }),
            Entry::Ended(Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN }),
        ]
    }

    fn told(records: &[SmsRecord]) -> Vec<Told> {
        let mut ledger = Ledger::default();
        for record in records {
            ledger.take(&record.encode_to_vec()).expect("readable");
        }
        ledger.close().map(|(_, told)| told).collect()
    }

    fn unknown() -> Entry {
        Entry::Ended(Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN })
    }

    #[test]
    fn every_entry_reads_back_as_it_was_written() {
        for entry in entries() {
            let record = entry.record(&reference(), 3, AT);
            assert_eq!(record.attempt, 3);
            assert_eq!(Entry::of(record.message), entry);
        }
    }

    #[test]
    fn the_newest_attempt_is_told_with_its_outcome() {
        let reference = reference();
        for entry in entries() {
            let outcome = match entry.clone() {
                Entry::Claimed => None,
                Entry::Ended(outcome) => Some(outcome),
            };
            let records = [Entry::Claimed.record(&reference, 1, AT), entry.record(&reference, 1, AT)];
            assert_eq!(told(&records), [Told { attempt: 1, outcome }], "{entry:?}");
        }
    }

    #[test]
    fn another_attempt_after_unknown_is_open_and_a_late_word_of_the_first_does_not_close_it() {
        let reference = reference();
        let open = [(Entry::Claimed, 1), (unknown(), 1), (Entry::Claimed, 2), (unknown(), 1)]
            .map(|(entry, attempt)| entry.record(&reference, attempt, AT));
        assert_eq!(told(&open), [Told { attempt: 2, outcome: None }]);
    }

    #[test]
    fn a_claim_that_is_written_after_its_own_outcome_opens_nothing() {
        let reference = reference();
        let records = [unknown(), Entry::Claimed].map(|entry| entry.record(&reference, 1, AT));
        let Entry::Ended(outcome) = unknown() else { panic!("an outcome") };
        assert_eq!(told(&records), [Told { attempt: 1, outcome: Some(outcome) }]);
    }

    #[test]
    fn a_message_of_a_newer_notifier_stops_the_sms_and_another_out_id_does_not() {
        let mut record = Entry::Claimed.record(&reference(), 1, AT);
        record.message = None;
        let outcome = Some(Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN });
        assert_eq!(told(std::slice::from_ref(&record)), [Told { attempt: 1, outcome }]);
        record.out_id = vec![0; 16].into();
        assert_eq!(told(&[record]), []);
    }

    #[test]
    fn a_record_without_a_number_tells_of_the_first_attempt() {
        let record = Entry::Claimed.record(&reference(), 0, AT);
        assert_eq!(told(&[record]), [Told { attempt: 1, outcome: None }]);
    }

    #[test]
    fn a_record_of_nobody_is_an_error() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.take(b"\xff"), Err(Code::MESSAGE_MALFORMED));
        assert_eq!(ledger.take(b""), Err(Code::MESSAGE_MALFORMED));
        assert_eq!(ledger.close().count(), 0);
    }
}
