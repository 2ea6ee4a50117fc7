//! Strangers at a system: they ask for ids that nobody has, and for queries that are not theirs.

use aggregator::store::{Clock as _, SystemClock};
use cardquery::local::plan::Part;
use schemas::ids::{KeyId, QueryId};
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{Answer, Front, System};

/// A row like that of a query, under another id, upstream and subject.
const COPY: &str = "
    INSERT INTO query SELECT (jsonb_populate_record(known, jsonb_build_object(
        'query_id', id, 'upstream', $3::text, 'subject', 'somebody else'))).*
    FROM query AS known, unnest($2::uuid[]) AS id WHERE known.query_id = $1";

/// As if its banks had not answered; they are not asked any more either.
const OPEN: &str = "
    WITH open AS (
        UPDATE query SET state = 'COLLECTING', state_data = NULL, deadline_at = now() + interval '1 day'
        WHERE query_id = ANY($1) RETURNING upstream, query_id
    )
    INSERT INTO pair (upstream, query_id, bank, statement_sha256, attempts, unavailable, invalid, conflict, read_to)
    SELECT upstream, query_id, bank, sha256(''), 1, false, false, false, '{}'
    FROM open, unnest($2::text[]) AS bank";

/// Whose query an id is, and what is asked about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stranger {
    /// Guesses an id and asks for its state.
    GuessesState,
    /// Asks for the state of another upstream's query.
    AsksStateOfAnotherUpstream,
    /// Guesses an id and asks for its report.
    GuessesReport,
    /// Asks for the report of another upstream's query.
    AsksReportOfAnotherUpstream,
    /// Asks for the report of another person of the same upstream.
    AsksReportOfAnotherPerson,
    /// The same while the query is open.
    AsksReportOfAnotherPersonTooSoon,
}

impl Stranger {
    /// All of them. Each is to be told the same as the first one in the list that asks for the same.
    pub const ALL: [Self; 6] = [
        Self::GuessesState,
        Self::AsksStateOfAnotherUpstream,
        Self::GuessesReport,
        Self::AsksReportOfAnotherUpstream,
        Self::AsksReportOfAnotherPerson,
        Self::AsksReportOfAnotherPersonTooSoon,
    ];

    /// Who guesses what this one knows to be there.
    #[must_use]
    pub fn guesser(self) -> Self {
        match self {
            Self::GuessesState | Self::AsksStateOfAnotherUpstream => Self::GuessesState,
            Self::GuessesReport
            | Self::AsksReportOfAnotherUpstream
            | Self::AsksReportOfAnotherPerson
            | Self::AsksReportOfAnotherPersonTooSoon => Self::GuessesReport,
        }
    }

    /// Whose queries there have to be, and whether they are open.
    fn others(self, own: &str) -> Option<(String, bool)> {
        match self {
            Self::GuessesState | Self::GuessesReport => None,
            Self::AsksStateOfAnotherUpstream | Self::AsksReportOfAnotherUpstream => {
                Some(("another".to_owned(), false))
            }
            Self::AsksReportOfAnotherPerson => Some((own.to_owned(), false)),
            Self::AsksReportOfAnotherPersonTooSoon => Some((own.to_owned(), true)),
        }
    }

    /// Asks about `id`. Each stranger is a person of its own: refused grants are counted per person.
    pub async fn asks(self, front: &Front, id: QueryId) -> Answer {
        match self.guesser() {
            Self::GuessesState => front.status(id).await,
            Self::GuessesReport
            | Self::AsksStateOfAnotherUpstream
            | Self::AsksReportOfAnotherUpstream
            | Self::AsksReportOfAnotherPerson
            | Self::AsksReportOfAnotherPersonTooSoon => {
                let subject = Uuid::now_v7().to_string();
                front.view(id, front.grant(id, &subject, KeyId([7; 16]), SystemClock.now())).await
            }
        }
    }
}

impl System {
    /// So many ids for each stranger; where they are to be others' queries, these are rows like that of `like`, which has
    /// ended.
    ///
    /// # Panics
    /// If the database refuses them.
    pub async fn strangers(&self, like: QueryId, each: usize) -> Vec<(Stranger, QueryId)> {
        let url = self.local.database_url(&Part::Aggregator).expect("it has a database");
        let mut session = PgConnection::connect(url.expose_secret()).await.expect("connected");
        let banks: Vec<String> = self.local.plan.banks().iter().map(ToString::to_string).collect();
        let uuid = |id: &QueryId| Uuid::from_bytes(*id.as_bytes());
        let mut asked = Vec::new();
        for stranger in Stranger::ALL {
            let ids: Vec<QueryId> = (0..each).map(|_| QueryId::generate()).collect();
            if let Some((upstream, open)) = stranger.others(self.local.plan.upstream().as_str()) {
                let uuids: Vec<Uuid> = ids.iter().map(uuid).collect();
                let copy = sqlx::query(COPY).bind(uuid(&like)).bind(&uuids).bind(upstream);
                let copied = copy.execute(&mut session).await.expect("copied").rows_affected();
                assert_eq!(copied, uuids.len() as u64);
                if open {
                    let reopen = sqlx::query(OPEN).bind(&uuids).bind(&banks);
                    reopen.execute(&mut session).await.expect("opened");
                }
            }
            asked.extend(ids.into_iter().map(|id| (stranger, id)));
        }
        session.close().await.expect("closed");
        asked
    }
}
