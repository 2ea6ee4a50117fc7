//! What a check can find, each with a stable name and a sentence of help. One table, for texts, documents and people.

use std::fmt;

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Something is wrong: exit code 65.
    Fault,
    /// Nothing is wrong, and somebody may want to know.
    Note,
}

macro_rules! codes {
    ($($code:ident $weight:ident $help:literal)*) => {
        /// What a check can find. Names are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[allow(missing_docs, non_camel_case_types)]
        pub enum Code { $($code),* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$code),*];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => stringify!($code)),* }
            }

            /// How bad it is.
            pub const fn weight(self) -> Weight {
                match self { $(Self::$code => Weight::$weight),* }
            }

            /// What it means, and what to do.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$code => $help),* }
            }
        }
    };
}

codes! {
    BUNDLE_MISSING Fault "A file of entries is missing although the log goes on. Export again into an empty folder."
    BUNDLE_TOO_LONG Fault "A file of entries goes on after its last entry, or its name promises fewer than it holds."
    BUNDLE_TRUNCATED Fault "A file of entries ends before the entry that is named. Export again into an empty folder."
    CHECKPOINT_FORGED Fault "A checkpoint is not signed with a key that was the hub's at that time; the reason stands beside it."
    CHECKPOINT_FORK Fault "Two signed checkpoints belong to no one log: the hub showed different logs. Keep both notes: they prove it."
    CHECKPOINT_MALFORMED Fault "A file holds no checkpoint, one of another log, or one whose size is not the file's name."
    CHECKPOINT_MISSING Fault "There is no checkpoint, so nothing vouches for the entries."
    CHECKPOINT_OLD Note "The file `checkpoint` is not the largest one: a later export was interrupted, or somebody put it back."
    ENTRIES_UNSIGNED Note "Entries after the largest checkpoint: nobody vouches for them yet."
    ERASED_WITHOUT_RECEIPT Note "A query says that it was erased on a day whose receipt is not in the log: it may come later."
    HISTORY_CHANGED Fault "The topic says something else of an entry or registry record than this folder. Keep both: one of them is not the hub's log."
    LEAF_ADDED Fault "An entry stands in its file that the tree does not have."
    LEAF_HASH_MISMATCH Fault "An entry is not the one that the tree has at this index: its bytes were changed."
    LEAF_KIND_UNKNOWN Note "A leaf of a kind that this version cannot read. It is hashed like all others."
    LEAF_MALFORMED Fault "A leaf is in the log as it was signed, and is not of the form that its kind has."
    LEAF_MISSING Fault "An entry of the tree is missing in its file; the ones behind it moved up."
    LEAF_OUT_OF_ORDER Fault "A leaf tells of a step of a query that cannot come here, for example a report without an acceptance before it."
    LEAF_REPEATED Fault "Two leaves tell of the same change of the same query."
    LEAVES_SWAPPED Fault "Two entries stand in each other's place."
    LOG_CUT_SHORT Fault "A checkpoint vouches for more entries than there are."
    LOG_GAP Fault "The topic does not hold the entries that come next: they are older than its retention, or lost. An older export is needed."
    PROOF_INVALID Fault "The leaf and its path do not lead to the root of the checkpoint."
    PROOF_MALFORMED Fault "A proof does not have the documented form."
    RECEIPT_INVALID Fault "The receipt of an erased day is not signed by the hub, is of another day, or its steps are out of order."
    REGISTRY_HUB_MISSING Fault "The registry has no hub, so no checkpoint can be verified."
    REGISTRY_MALFORMED Fault "A line of registry/entries.jsonl does not have the documented form."
    REGISTRY_REFUSED Fault "A registry entry is refused: too few signatures of these roots, or it does not go on from the one before; the reason stands beside it."
    REGISTRY_VERSIONS_MISSING Note "Between two entries of a party there were others, which compaction removed before they were exported."
    REPLAY_BANKS_DIFFER Fault "The log's report has other banks than those that were asked."
    REPLAY_CONFLICT_DIFFERS Fault "Whether a later valid reply of the bank contradicts the one that counts is not as the log says."
    REPLAY_COVERAGE_DIFFERS Fault "The report that the topics give, once more by the same rule, has another digest than the one that was signed."
    REPLAY_FINAL_AT_DIFFERS Fault "The report became final at another time than the rule gives, for example before its deadline."
    REPLAY_LOG_CONTRADICTS Fault "The outcomes in a leaf do not have the digest of the coverage in the same leaf."
    REPLAY_NOT_ACCEPTED Fault "The log has a report of a query that it did not accept."
    REPLAY_OUTCOME_DIFFERS Fault "A bank without a reply that counts has another outcome than the rule gives."
    REPLAY_QUERY_DIFFERS Fault "The query's record does not say what the log says of its acceptance; what differs stands beside it."
    REPLAY_QUERY_MISSING Fault "The query topic goes on and does not have the query's record where the log says that it lies."
    REPLAY_RECORD_REMOVED Fault "A record that the log names is gone before its retention is over: somebody removed it."
    REPLAY_REPLY_ADDED Fault "The log counts a reply that is not where it says in the bank's topic: nobody sent it, or the record was removed."
    REPLAY_REPLY_DIFFERS Fault "The record of the reply that counts is not the one that the log digested."
    REPLAY_REPLY_DROPPED Fault "The bank's topic has a valid reply in time, and the log says that there was none."
    REPLAY_REPLY_EARLIER Fault "The bank's partition has a valid reply before the one that counts: the first one counts."
    REPLAY_REPLY_EARLIER_ELSEWHERE Note "Another partition of the bank's topic has a valid reply with an earlier append time. Between partitions the order of reading decides: a bank that sends by key uses one."
    REPLAY_REPLY_INVALID Fault "The reply that counts fails a check; the code stands beside it."
    REPLAY_REPLY_LATE Fault "The reply that counts was appended after the deadline."
    REPLAY_STATE_DIFFERS Fault "The report has another state than the rule gives."
    REPLAY_UNDETERMINED Note "It depends on a registry entry that came between the reply and the report, or that compaction removed; the log's word was taken."
    REPLY_INVALID Fault "What a leaf holds of a bank's reply is not signed by that bank, or is about something else; the reason stands beside it."
    ROOT_MISMATCH Fault "Entries and tiles agree with each other, and do not lead to the root that was signed: somewhere in the named range."
    STORE_CONTENT_KEPT Fault "The store keeps content of a query that was withdrawn or erased."
    STORE_COVERAGE_DIFFERS Fault "The stored coverage is not the one that was signed."
    STORE_COVERAGE_MISSING Fault "The coverage of a final report is not in the store."
    STORE_COVERAGE_UNREADABLE Fault "The stored coverage does not open with the key of its day: its row was altered, or the key is gone."
    STORE_QUERY_MISSING Fault "The store does not have the query."
    STORE_SEGMENT_ADDED Fault "The store has a segment of a bank that has no reply that counts."
    STORE_SEGMENT_DIFFERS Fault "The stored segment is not that of the reply that counts."
    STORE_SEGMENT_MISSING Fault "The segment of the reply that counts is not in the store."
    STORE_SEGMENT_UNREADABLE Fault "The stored segment does not open with the key of its day: its row was altered, or the key is gone."
    STORE_STATE_DIFFERS Fault "The facts in the query's row are not those of the log."
    STORE_STATE_UNREADABLE Fault "The facts in the query's row cannot be read."
    TILE_HASH_MISMATCH Fault "A tile differs from the tree of the entries, which is the signed one: the tile was changed."
    TILE_MISSING Fault "A tile is missing. Export again into an empty folder."
    TILE_TRUNCATED Fault "A tile has another length than its name says. Export again into an empty folder."
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The table as lines for a person.
pub(super) fn text() -> String {
    let line = |code: &Code| {
        let weight = match code.weight() {
            Weight::Fault => "fault",
            Weight::Note => "note ",
        };
        format!("{:<30}  {weight}  {}\n", code.as_str(), code.help())
    };
    Code::ALL.iter().map(line).collect()
}

/// The table for a program.
pub(super) fn json() -> serde_json::Value {
    let row = |code: &Code| serde_json::json!({"code": code, "weight": code.weight(), "help": code.help()});
    Code::ALL.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_help_is_a_sentence() {
        assert!(Code::ALL.is_sorted_by(|a, b| a.as_str() < b.as_str()));
        for code in Code::ALL {
            assert!(code.help().ends_with('.'), "{code}");
            assert!(code.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{code}");
        }
        assert_eq!(text().lines().count(), Code::ALL.len());
        assert_eq!(json().as_array().map(Vec::len), Some(Code::ALL.len()));
    }
}
