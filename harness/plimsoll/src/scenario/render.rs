//! Diagnostics for people: with the line that they are about.

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
    ThemeCharacters, ThemeStyles,
};

use super::diagnostic::{Diagnostic, Diagnostics, Severity};

/// How diagnostics look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether to use colours.
    pub colour: bool,
    /// Whether to use box-drawing characters, or plain ASCII.
    pub unicode: bool,
    /// Columns of the terminal.
    pub width: usize,
}

impl Default for Look {
    fn default() -> Self {
        Self { colour: false, unicode: true, width: 100 }
    }
}

/// All diagnostics, each with its line, and a closing line that counts them.
#[must_use]
pub fn graphical(diagnostics: &Diagnostics, look: Look) -> String {
    let theme = GraphicalTheme {
        characters: if look.unicode { ThemeCharacters::unicode() } else { ThemeCharacters::ascii() },
        styles: if look.colour { ThemeStyles::ansi() } else { ThemeStyles::none() },
    };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(look.width).with_context_lines(1);
    let mut text = String::new();
    for diagnostic in &diagnostics.list {
        let report = report(diagnostic, diagnostics);
        if handler.render_report(&mut text, report.as_ref()).is_err() {
            text.push_str(&diagnostic.to_string());
        }
        text.push('\n');
    }
    text.push_str(&summary(diagnostics));
    text.push('\n');
    text
}

/// How many there are: `2 errors, 1 warning`.
#[must_use]
pub fn summary(diagnostics: &Diagnostics) -> String {
    let counted = |severity: Severity| match diagnostics.count(severity) {
        0 => None,
        1 => Some(format!("1 {severity}")),
        many => Some(format!("{many} {severity}s")),
    };
    let parts: Vec<String> = [Severity::Error, Severity::Warning].into_iter().filter_map(counted).collect();
    if parts.is_empty() { "nothing to report".to_owned() } else { parts.join(", ") }
}

fn report(diagnostic: &Diagnostic, diagnostics: &Diagnostics) -> Report {
    let mut plain = MietteDiagnostic::new(diagnostic.message.clone())
        .with_code(diagnostic.code.name())
        .with_severity(match diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        });
    if let Some(help) = &diagnostic.help {
        plain = plain.with_help(help.clone());
    }
    let location = &diagnostic.location;
    let Some(source) = diagnostics.sources.named(&location.file).filter(|source| !source.text.is_empty())
    else {
        plain.message = format!("{location}: {}", plain.message);
        return Report::new(plain);
    };
    let start = (diagnostic.offset as usize).min(source.text.len());
    let line_end = source.text[start..].find('\n').map_or(source.text.len(), |end| start + end);
    // What goes over several lines is shown by its first.
    let length = (diagnostic.length as usize).min(line_end - start);
    let plain = plain.and_label(LabeledSpan::new(None, start, length));
    Report::new(plain).with_source_code(NamedSource::new(&source.name, source.text.clone()))
}
