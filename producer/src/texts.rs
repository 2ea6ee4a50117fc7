//! The consent texts, compiled in: what a person reads before every query.
//!
//! The SHA-256 of the text stands in the signed consent, so a text never changes under its version.

use std::sync::LazyLock;

use schemas::ids::Digest;
use schemas::wire::Language;

/// A consent text as published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentText {
    /// Its language.
    pub language: Language,
    /// The language as BCP 47 tag, for example `zh-CN`.
    pub tag: &'static str,
    /// Its version; texts of one version say the same.
    pub version: &'static str,
    /// The words, UTF-8.
    pub text: &'static str,
    /// SHA-256 of the words.
    pub sha256: Digest,
}

const VERSION: &str = "2026-11";

static TEXTS: LazyLock<[ConsentText; 2]> = LazyLock::new(|| {
    [
        text(Language::ZhCn, "zh-CN", include_str!("../texts/consent.zh-CN.txt")),
        text(Language::En, "en", include_str!("../texts/consent.en.txt")),
    ]
});

fn text(language: Language, tag: &'static str, text: &'static str) -> ConsentText {
    ConsentText { language, tag, version: VERSION, text, sha256: Digest::of(text.as_bytes()) }
}

/// Every consent text in force, with its SHA-256: the hub's configuration names the same ones.
pub fn consent_texts() -> &'static [ConsentText] {
    TEXTS.as_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_does_not_change_under_its_version() {
        // A consent names the digest: another text needs another version, and the hub must know both.
        let published: Vec<String> = consent_texts()
            .iter()
            .map(|text| format!("{} {} {}", text.version, text.tag, text.sha256))
            .collect();
        assert_eq!(
            published,
            [
                "2026-11 zh-CN 49610080a8c8f1f6341fbdbca86951fe6fcc84d8593ff5d4312751f896f6d0e0",
                "2026-11 en 04a4a05daa4b7772b266d38f9dea71f4a5bf5245a704936d6019384843a1df38",
            ]
        );
    }

    #[test]
    fn each_text_says_for_how_long_and_under_which_law_and_names_the_ten_pretexts() {
        for (tag, words) in [
            ("zh-CN", ["第十六条", "24小时", "7个自然日", "撤回", "1. 投资理财", "10. 归还教育额度"]),
            (
                "en",
                [
                    "article 16",
                    "24 hours",
                    "7 calendar days",
                    "withdraw",
                    "1. an investment",
                    "10. returning",
                ],
            ),
        ] {
            let text = consent_texts().iter().find(|text| text.tag == tag).expect("the language is there");
            for word in words {
                assert!(text.text.contains(word), "{tag}: {word}");
            }
        }
    }
}
