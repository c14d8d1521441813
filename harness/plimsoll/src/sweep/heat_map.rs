//! A grid as characters: a column for each setting of the first axis, a line for each of the second, its last on top.

use std::fmt::Write;

use super::summary::{Brief, Summary};

/// How a cell is meant; the characters say it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shade {
    /// Always evicted in time.
    Good,
    /// At times.
    Mixed,
    /// Always OOM-killed.
    Bad,
    /// Nobody went.
    Nothing,
}

/// The map, with its scales and legend, at most so wide. `paint` colours a cell's character.
#[must_use]
pub fn heat_map(summary: &Summary<'_>, width: usize, paint: impl Fn(Shade, &str) -> String) -> String {
    let axes = &summary.sweep().axes;
    let Some(first) = axes.first() else { return String::new() };
    let rows: Vec<String> = match axes.get(1) {
        Some(axis) => axis.values.iter().map(|value| value.text.clone()).collect(),
        None => vec![String::new()],
    };
    let margin = rows.iter().map(String::len).max().unwrap_or(0);
    let room = width.saturating_sub(margin + 3).max(10);
    // Each column of the map stands for one setting or, where there is no room for all, for the worst of several.
    let gather = summary.columns().div_ceil(room);
    let drawn = summary.columns().div_ceil(gather);
    let wide = (room / drawn.max(1)).clamp(1, 3);
    let lines = rows.len().div_ceil(40);
    let mut text = String::new();
    if let Some(axis) = axes.get(1) {
        let _ = writeln!(text, "{}", axis.title());
    }
    for band in (0..rows.len().div_ceil(lines)).rev() {
        let band = band * lines..((band + 1) * lines).min(rows.len());
        let _ = write!(text, "{:>margin$} |", rows[band.end - 1]);
        for column in 0..drawn {
            let columns = column * gather..((column + 1) * gather).min(summary.columns());
            let cells = columns.flat_map(|column| band.clone().map(move |row| (column, row)));
            let worst = cells.map(|(column, row)| summary.worst(column, row));
            let worst = worst.max_by_key(|brief| (brief.oom_killed, 255 - brief.in_time)).unwrap_or_default();
            let (shade, character) = character(worst);
            text.push_str(&paint(shade, &character.to_string().repeat(wide)));
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{:margin$} +{}", "", "-".repeat(drawn * wide));
    let (from, to) = (&first.values[0].text, &first.values[first.values.len() - 1].text);
    let gap = (drawn * wide).saturating_sub(from.len() + to.len()).max(1);
    let _ = writeln!(text, "{:margin$}  {from}{:gap$}{to}", "", "");
    let _ = writeln!(text, "{:margin$}  {}", "", first.title());
    let _ = writeln!(
        text,
        "{:margin$}  # always evicted in time, 9 to 1 in so many tenths of phases, 0 never (OOM-killed), . nobody went",
        ""
    );
    text
}

fn character(brief: Brief) -> (Shade, char) {
    match brief {
        Brief { oom_killed: 0, in_time: 0, .. } => (Shade::Nothing, '.'),
        Brief { oom_killed: 0, nobody: 0, .. } => (Shade::Good, '#'),
        Brief { oom_killed: 255, .. } => (Shade::Bad, '0'),
        _ => {
            let tenths = (u32::from(brief.in_time) * 10 / 255).clamp(1, 9);
            (Shade::Mixed, char::from_digit(tenths, 10).unwrap_or('?'))
        }
    }
}
