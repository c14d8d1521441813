//! Texts in double quotes as Go's `%q` writes them, and read back.
//!
//! Follows Go 1.26's package `strconv`.

mod printable;

use std::fmt::Write as _;

use printable::PRINTABLE;

/// Whether a character stands for itself. Upstream: Go's `strconv.IsPrint`.
fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return character == ' ' || character.is_ascii_graphic();
    }
    let code = u32::from(character);
    let after = PRINTABLE.partition_point(|(first, _)| *first <= code);
    after.checked_sub(1).is_some_and(|at| code <= PRINTABLE[at].1)
}

/// A text in double quotes. Upstream: Go's `strconv.Quote`.
#[must_use]
pub(crate) fn quoted(text: &str) -> String {
    let mut result = String::from("\"");
    for character in text.chars() {
        let code = u32::from(character);
        // Writing to a string can not fail.
        let _ = match character {
            '"' | '\\' => write!(result, "\\{character}"),
            _ if is_printable(character) => write!(result, "{character}"),
            '\x07' => write!(result, "\\a"),
            '\x08' => write!(result, "\\b"),
            '\x0c' => write!(result, "\\f"),
            '\n' => write!(result, "\\n"),
            '\r' => write!(result, "\\r"),
            '\t' => write!(result, "\\t"),
            '\x0b' => write!(result, "\\v"),
            _ if character.is_ascii() => write!(result, "\\x{code:02x}"),
            _ if code < 0x1_0000 => write!(result, "\\u{code:04x}"),
            _ => write!(result, "\\U{code:08x}"),
        };
    }
    result.push('"');
    result
}

/// Reads a text in double quotes from the front, and gives it and what follows; none if there is no such text.
/// Upstream: Go's `strconv.Unquote`, as far as [`quoted`] goes.
#[must_use]
pub(crate) fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut result = String::new();
    loop {
        let mut characters = rest.chars();
        match characters.next()? {
            '"' => return Some((result, characters.as_str())),
            '\\' => {
                let (character, digits) = match characters.next()? {
                    escaped @ ('"' | '\\') => (Some(escaped), 0),
                    'a' => (Some('\x07'), 0),
                    'b' => (Some('\x08'), 0),
                    'f' => (Some('\x0c'), 0),
                    'n' => (Some('\n'), 0),
                    'r' => (Some('\r'), 0),
                    't' => (Some('\t'), 0),
                    'v' => (Some('\x0b'), 0),
                    'x' => (None, 2),
                    'u' => (None, 4),
                    'U' => (None, 8),
                    _ => return None,
                };
                let after = characters.as_str();
                let (code, after) = after.split_at_checked(digits)?;
                result.push(match character {
                    Some(character) => character,
                    None => char::from_u32(u32::from_str_radix(code, 16).ok()?)?,
                });
                rest = after;
            }
            character => {
                result.push(character);
                rest = characters.as_str();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        for (text, expected) in [
            ("a\"b\\c\n\u{1}\u{85}\u{e9}", r#""a\"b\\c\n\x01\u0085é""#),
            ("\x07\x08\x0c\r\t\x0b\x7f ~", r#""\a\b\f\r\t\v\x7f ~""#),
            ("\u{a0}\u{ad}\u{200b}\u{2028}\u{3000}\u{feff}", r#""\u00a0\u00ad\u200b\u2028\u3000\ufeff""#),
            ("\u{378}\u{e000}\u{fffd}\u{301}", "\"\\u0378\\ue000\u{fffd}\u{301}\""),
            ("\u{1f6a2}\u{e0001}\u{10ffff}", "\"\u{1f6a2}\\U000e0001\\U0010ffff\""),
            ("", "\"\""),
        ] {
            assert_eq!(quoted(text), expected);
            assert_eq!(unquoted(&format!("{expected} and more")), Some((text.to_owned(), " and more")));
        }
    }

    #[test]
    fn what_is_not_quoted_is_not_read() {
        for text in ["", "a", "\"a", "\"\\", "\"\\q\"", "\"\\x1\"", "\"\\ud800\"", "\"\\xé\""] {
            assert_eq!(unquoted(text), None, "{text}");
        }
    }
}
