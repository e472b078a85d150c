//! Text that is put together when the program is compiled, for what a constant refuses.

/// The longest text, in bytes. Names of tables and indexes have at most 128.
const TEXT_MAX_BYTES: usize = 768;

/// Text of several parts. A part that does not fit is left out.
pub(crate) struct ConstText {
    bytes: [u8; TEXT_MAX_BYTES],
    len: usize,
}

impl ConstText {
    pub(crate) const fn of(parts: &[&str]) -> Self {
        let mut text = Self { bytes: [0; TEXT_MAX_BYTES], len: 0 };
        let mut part = 0;
        while part < parts.len() {
            let from = parts[part].as_bytes();
            if from.len() <= TEXT_MAX_BYTES - text.len {
                let mut at = 0;
                while at < from.len() {
                    text.bytes[text.len] = from[at];
                    text.len += 1;
                    at += 1;
                }
            }
            part += 1;
        }
        text
    }

    pub(crate) const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => panic!("whole texts one after the other are text"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_one_another_and_what_does_not_fit_is_left_out() {
        const TEXT: ConstText = ConstText::of(&["é", "", "bc"]);
        assert_eq!(TEXT.as_str(), "ébc");
        let long = "é".repeat(TEXT_MAX_BYTES / 2);
        assert_eq!(ConstText::of(&["a", &long, "b"]).as_str(), "ab");
        assert_eq!(ConstText::of(&[&long, "a"]).as_str(), long);
    }
}
