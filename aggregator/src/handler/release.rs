//! Takes releases of held queries: each a whole submission, sealed and signed anew, that names the held one.

use std::collections::BTreeSet;

use plumbing::kafka::Record;
use schemas::codes::Code;
use schemas::ids::Digest;
use schemas::submission::Submission;
use schemas::time::UnixMillis;

use super::register::{Judged, Left, Registrar, ToAsk, ask_once_more, count, open_pairs};
use super::write::After;
use crate::domain::assembly::Event;
use crate::domain::hold::Release;
use crate::domain::query::State;
use crate::store::{SealedContact, Store, StoreResult, Tx};

impl<S: Store> Registrar<S> {
    pub(super) async fn release<T: Tx>(
        &self,
        tx: &mut T,
        record: &Record,
        submission: Box<Submission>,
        releases: Digest,
        judged: Judged,
        now: UnixMillis,
    ) -> StoreResult<(Left, After)> {
        let (reference, nonce) = (submission.query.reference.clone(), submission.query.terms.nonce);
        // First the consent, then the query: a withdrawal that is under way meanwhile is seen.
        tx.withdrawal(&reference).await?;
        let Some(query) = tx.lock(&BTreeSet::from([reference.clone()])).await?.remove(&reference) else {
            return Ok((Left::DeadLetter(Code::NOT_HELD), After::default()));
        };
        if query.record == record.position {
            // Released before. After a crash its banks may not have been asked.
            let asked = tx.is_asked(&reference).await?;
            let ask = if asked { None } else { ask_once_more(query, submission, now) };
            return Ok((ask.into(), After::default()));
        }
        if let (State::Held(_), Ok(decision)) = (&query.state, judged) {
            self.audit_decision(tx, &record.position, &submission, decision).await?;
        }
        let used = tx.is_nonce_used(nonce).await?;
        let times = self.hub.window.times(UnixMillis(record.append_time_ms));
        let release = Release {
            record: record.position.clone(),
            times,
            releases,
            content_digest: submission.query.content_digest(),
            pairs: open_pairs(&submission, now, times.reply_by),
            judged: if used { judged.and(Err(Code::CONSENT_ALREADY_USED)) } else { judged },
            cooling_off: self.hub.policy.get().hold.cooling_off,
        };
        let released = Event::Released(Box::new(release));
        let (query, mut after) = self.hub.apply(tx, query, [released], None, now).await?;
        if query.record != record.position {
            return Ok((Left::Nothing, after));
        }
        count("RELEASED");
        let contact = SealedContact {
            statement: submission.contact.statement.clone(),
            sealed: submission.contact.sealed_contact.clone(),
        };
        tx.keep_release(&reference, nonce, &contact).await?;
        let asks = self.hub.due(&query);
        let (query, more) = self.hub.apply(tx, query, asks, None, now).await?;
        let asks = more.asks.clone();
        after.extend(more);
        Ok((Some(ToAsk { query, asks, submission }).into(), after))
    }
}
