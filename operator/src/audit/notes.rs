//! Signed notes, one after the other in a file.

/// Every signed note of a text. Each ends with its last signature line; nothing of the text is left out, so that what is no
/// note shows when it is opened.
pub fn split(text: &str) -> Vec<&str> {
    let (mut notes, mut start, mut at, mut signed) = (Vec::new(), 0, 0, false);
    for line in text.split_inclusive('\n') {
        let signature = line.starts_with('\u{2014}');
        if signed && !signature {
            notes.push(&text[start..at]);
            start = at;
        }
        signed = signature;
        at += line.len();
    }
    if start < text.len() {
        notes.push(&text[start..]);
    }
    notes
}

/// The name of the log that a note says it is of.
pub fn origin(note: &str) -> &str {
    note.split('\n').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_part_after_their_signatures_and_nothing_is_lost() {
        let (one, two) = ("log\n1\n\n\u{2014} log A\n", "log\n2\n\n\u{2014} log B\n\u{2014} witness C\n");
        assert_eq!(split(one), [one]);
        assert_eq!(split(&format!("{one}{two}{one}")), [one, two, one]);
        assert_eq!(split(""), [""; 0]);
        assert_eq!(split(&format!("{one}rest")), [one, "rest"]);
        assert_eq!(split("no note\nat all"), ["no note\nat all"]);
        assert_eq!(origin(two), "log");
    }
}
