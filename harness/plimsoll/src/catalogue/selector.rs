//! Label selectors as kubectl writes them: `tier=quick,signal!=pid.available,needs notin (a, b),!slow`.

use std::collections::BTreeSet;

use kube::core::{Expression, Selector};

/// A selector that can not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{part}` selects nothing that can be told: {why}")]
pub struct SelectorError {
    /// The requirement at fault.
    part: String,
    /// What is wrong with it.
    why: &'static str,
}

/// Reads a selector: requirements with commas between them, all of which must hold. As
/// `k8s.io/apimachinery/pkg/labels.Parse` (1.36) has it, but for `<` and `>`, which compare numbers and which no label of a
/// scenario needs.
///
/// # Errors
/// When a requirement has no key, an operator that is not known, or a set that does not end.
pub fn selector(text: &str) -> Result<Selector, SelectorError> {
    let mut parts = Vec::new();
    let mut depth = 0_usize;
    let mut from = 0;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    if parts.len() == 1 && parts[0].trim().is_empty() {
        return Ok(Selector::default());
    }
    parts.into_iter().map(requirement).collect()
}

fn requirement(part: &str) -> Result<Expression, SelectorError> {
    let part = part.trim();
    let wrong = |why| SelectorError { part: part.to_owned(), why };
    if let Some((key, value)) = part.split_once("!=") {
        return Ok(Expression::NotEqual(key_of(key).map_err(wrong)?, value_of(value).map_err(wrong)?));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Expression::Equal(key_of(key).map_err(wrong)?, value_of(value).map_err(wrong)?));
    }
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Expression::DoesNotExist(key_of(key).map_err(wrong)?));
    }
    let Some((key, rest)) = part.split_once(|character: char| character.is_whitespace() || character == '(')
    else {
        return Ok(Expression::Exists(key_of(part).map_err(wrong)?));
    };
    let key = key_of(key).map_err(wrong)?;
    let rest = rest.trim_start();
    let (negated, set) = match (rest.strip_prefix("notin"), rest.strip_prefix("in")) {
        (Some(set), _) => (true, set),
        (None, Some(set)) => (false, set),
        (None, None) => {
            return Err(wrong("expected =, ==, !=, in (…), notin (…), a key alone, or ! and a key"));
        }
    };
    let set = set.trim();
    let set = set.strip_prefix('(').and_then(|set| set.strip_suffix(')'));
    let set = set.ok_or_else(|| wrong("expected a set in brackets, such as in (quick, full)"))?;
    let values: BTreeSet<String> = set.split(',').map(value_of).collect::<Result<_, _>>().map_err(wrong)?;
    Ok(if negated { Expression::NotIn(key, values) } else { Expression::In(key, values) })
}

fn key_of(text: &str) -> Result<String, &'static str> {
    let key = text.trim();
    if key.is_empty() {
        return Err("a key is missing");
    }
    plain(key, "/")
}

/// A label's value may be empty.
fn value_of(text: &str) -> Result<String, &'static str> {
    plain(text.trim(), "")
}

fn plain(word: &str, also: &str) -> Result<String, &'static str> {
    let fits = |character: char| {
        character.is_ascii_alphanumeric() || "-_.".contains(character) || also.contains(character)
    };
    if word.chars().all(fits) {
        Ok(word.to_owned())
    } else {
        Err("keys and values are letters, digits, `-`, `_` and `.`")
    }
}
