//! Where a watch is shown.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::report::{TerminalOptions, Verbosity};
use crate::verdict::words;

/// Where a watch is shown: drawn over on a terminal, one after another elsewhere.
pub(super) struct Screen {
    terminal: bool,
    documents: bool,
    /// What is shown while nothing can be had, so that the last report stays in sight and is not taken for news.
    last: Option<String>,
}

impl Screen {
    pub(super) fn of_stdout(documents: bool) -> Self {
        Self { terminal: std::io::stdout().is_terminal() && !documents, documents, last: None }
    }

    pub(super) fn show(&mut self, text: &str) -> std::io::Result<()> {
        let mut output = std::io::stdout().lock();
        if self.terminal {
            let (width, height) =
                terminal_size::terminal_size().map_or((100, 40), |(width, height)| (width.0, height.0));
            output.write_all(fitted(text, width, height).as_bytes())?;
        } else {
            output.write_all(text.as_bytes())?;
            if !self.documents && !text.is_empty() {
                output.write_all(b"\n")?;
            }
        }
        output.flush()
    }

    /// Takes what is shown next for news again.
    pub(super) fn forget_trouble(&mut self) {
        self.last = None;
    }

    /// What is shown when there is trouble: on a terminal below the last report; elsewhere on the standard error.
    pub(super) fn with_trouble(&mut self, shown: &str, trouble: &str, interval: Duration) -> String {
        let again = format!("asking again every {}", words::duration(interval));
        if self.terminal {
            let last = self.last.get_or_insert_with(|| shown.to_owned());
            let options = TerminalOptions::for_stdout(Verbosity::Normal);
            let at = jiff::Zoned::now().strftime("%H:%M:%S");
            let told = format!("error at {at}: {trouble}\n{again}; this is how it was before:");
            let told: Vec<String> = told.lines().flat_map(|line| options.wrap("", line)).collect();
            format!("{}\n\n{last}", told.join("\n"))
        } else {
            eprintln!("error: {trouble}\n{again}");
            String::new()
        }
    }
}

/// The text as it is drawn from the top left corner of a terminal of this size, with what it draws over cleared.
fn fitted(text: &str, width: u16, height: u16) -> String {
    const HOME: &str = "\x1b[H";
    const CLEAR_LINE: &str = "\x1b[K";
    const CLEAR_BELOW: &str = "\x1b[J";
    let room = usize::from(height.saturating_sub(1)).max(2);
    let lines: Vec<&str> = text.lines().collect();
    let mut drawn = String::from(HOME);
    let cut = lines.len() > room;
    for line in &lines[..if cut { room - 1 } else { lines.len() }] {
        drawn.push_str(&cut_to(line, usize::from(width)));
        drawn.push_str(CLEAR_LINE);
        drawn.push_str("\r\n");
    }
    if cut {
        let more = words::count(lines.len() + 1 - room, "line");
        drawn.push_str(&format!(
            "… {more} more: enlarge the terminal, or give a smaller --top{CLEAR_LINE}\r\n"
        ));
    }
    drawn.push_str(CLEAR_BELOW);
    drawn
}

/// A line's first columns, with the colours that lie between them.
fn cut_to(line: &str, width: usize) -> String {
    let mut cut = String::new();
    let (mut columns, mut escape) = (0, false);
    for character in line.chars() {
        if escape {
            escape = character != 'm';
        } else if character == '\x1b' {
            escape = true;
        } else if columns == width {
            continue;
        } else {
            columns += 1;
        }
        cut.push(character);
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_cut_to_the_terminal() {
        let drawn = fitted("\x1b[1mabcdef\x1b[0m\nb\nc\nd\n", 3, 4);
        let lines: Vec<&str> = drawn.split("\r\n").collect();
        assert_eq!(lines[0], "\x1b[H\x1b[1mabc\x1b[0m\x1b[K");
        assert_eq!(lines[1], "b\x1b[K");
        assert!(lines[2].starts_with("… 2 lines more"), "{lines:?}");
        assert_eq!(lines[3], "\x1b[J");
        assert_eq!(fitted("a\n", 10, 10), "\x1b[Ha\x1b[K\r\n\x1b[J");
    }
}
