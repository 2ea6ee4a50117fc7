//! In which language a caller wants the words for the person: `Accept-Language` (RFC 9110).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;
use schemas::wire::Language;

/// The language that the caller wants most; Chinese when it says nothing that there are words in.
pub(crate) fn preferred(headers: &HeaderMap) -> Language {
    let said = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
    let mut best = (0, Language::ZhCn);
    for range in said.flat_map(|line| line.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let language = parts.next().and_then(named);
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1_000), thousandths);
        if let (Some(language), Some(quality)) = (language, quality)
            && quality > best.0
        {
            best = (quality, language);
        }
    }
    best.1
}

/// A range means its language whatever the region; `*` is content with the first one.
fn named(range: &str) -> Option<Language> {
    match range.split('-').next()?.to_ascii_lowercase().as_str() {
        "zh" | "*" => Some(Language::ZhCn),
        "en" => Some(Language::En),
        _ => None,
    }
}

/// `0` to `1` with up to three decimals.
fn thousandths(quality: &str) -> Option<u16> {
    let (whole, decimals) = quality.split_once('.').unwrap_or((quality, ""));
    let digits = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let decimals: u16 = format!("{decimals:0<3}").parse().ok().filter(|_| digits)?;
    match whole {
        "0" => Some(decimals),
        "1" if decimals == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_that_is_wanted_most_is_taken_and_chinese_otherwise() {
        for (said, language) in [
            ("", Language::ZhCn),
            ("en", Language::En),
            ("en-GB", Language::En),
            ("EN", Language::En),
            ("zh-TW", Language::ZhCn),
            ("fr, de;q=0.9", Language::ZhCn),
            ("fr, en;q=0.2", Language::En),
            ("en, zh", Language::En),
            ("en;q=0.8, zh;q=0.9", Language::ZhCn),
            ("en;q=0.901, zh;q=0.9", Language::En),
            ("en;q=0", Language::ZhCn),
            ("*", Language::ZhCn),
            ("en; q=0.5, *;q=0.1", Language::En),
            ("en;q=2, zh;q=0.1", Language::ZhCn),
            ("en;q=0.1234", Language::ZhCn),
            ("en;q=NaN", Language::ZhCn),
            (",;,;q=1", Language::ZhCn),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, said.parse().expect("a header"));
            assert_eq!(preferred(&headers), language, "{said}");
        }
        assert_eq!(preferred(&HeaderMap::new()), Language::ZhCn);
    }
}
