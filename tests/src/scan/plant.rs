//! What a scan must find when it is planted on purpose.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::Encoding;

/// `text` in every way in which it can be written, with the encoding as which a scan must find it.
#[must_use]
pub fn written(text: &str) -> Vec<(Encoding, Vec<u8>)> {
    let mut all = vec![
        (Encoding::Raw, text.as_bytes().to_vec()),
        (Encoding::Utf16, text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        (Encoding::Utf16, text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        (Encoding::Numbers, format!("{:?}", text.as_bytes()).into_bytes()),
        (Encoding::Numbers, format!("{:#?}", text.as_bytes()).into_bytes()),
    ];
    let each = |format: fn(u8) -> String| text.bytes().map(format).collect::<String>().into_bytes();
    all.push((Encoding::Escaped, each(|byte| format!("\\x{byte:02x}"))));
    all.push((Encoding::Escaped, each(|byte| format!("%{byte:02X}"))));
    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
    all.push((Encoding::Escaped, units.collect::<String>().into_bytes()));
    let scalars = text.chars().map(|scalar| format!("\\u{{{:x}}}", u32::from(scalar)));
    all.push((Encoding::Escaped, scalars.collect::<String>().into_bytes()));
    // Whatever comes before shifts the alignment.
    for shift in ["", "#", "##", "###"] {
        let content = format!("{shift}{text}!");
        all.push((Encoding::Hex, hex::encode(&content).into_bytes()));
        all.push((Encoding::Hex, hex::encode_upper(&content).into_bytes()));
        all.push((Encoding::Hex, format!("0{}", hex::encode(&content)).into_bytes()));
        for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            all.push((Encoding::Base64, engine.encode(&content).into_bytes()));
            all.push((Encoding::Base64, format!("A{}", engine.encode(&content)).into_bytes()));
        }
    }
    all
}
