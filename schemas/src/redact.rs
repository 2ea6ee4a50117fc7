//! `Debug` for messages that hold personal data: their names, never their content.

use std::fmt;

use crate::wire;

macro_rules! redacted {
    ($($message:ident),+) => {
        $(impl fmt::Debug for wire::$message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($message), "(redacted)"))
            }
        })+
    };
}

redacted!(Identity, Contact, Answer, Card, Dormancy);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_messages_do_not_print_their_content() {
        let identity =
            wire::Identity { name: "王小明".into(), phone: "+8613800000001".into(), ..Default::default() };
        let answer = wire::Answer {
            cards: vec![wire::Card { first4: "6222".into(), last4: "1234".into(), ..Default::default() }],
            ..Default::default()
        };
        for text in [format!("{identity:?}"), format!("{answer:?}"), format!("{:#?}", answer.cards)] {
            assert!(!text.contains("王小明") && !text.contains("138") && !text.contains("6222"), "{text}");
        }
    }
}
