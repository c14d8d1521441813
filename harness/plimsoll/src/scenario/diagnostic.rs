//! What is wrong with a scenario, as data: codes, places, sentences and help.

use std::fmt;

use serde::Serialize;

use super::tree::Mark;
use crate::plan::Location;

/// Whether a diagnostic stops the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The scenario can not be run, or its verdict would mean nothing.
    Error,
    /// It can be run, but probably does not show what it says.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

macro_rules! codes {
    ($($code:ident $severity:ident $summary:literal,)*) => {
        /// The kinds of diagnostics. A number, once given, keeps its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Code {
            $(#[doc = $summary] $code,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// Such as `E0001`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => stringify!($code),)* }
            }

            /// What it is about, in a few words.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$code => $summary,)* }
            }

            /// Whether it stops the run.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$code => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    E0001 Error "the file can not be read: absent, too large, not UTF-8, empty",
    E0002 Error "not YAML",
    E0003 Error "a field that the format does not have, or one that stands twice",
    E0004 Error "a field that must be there is not",
    E0005 Error "a value of the wrong kind",
    E0006 Error "a value that can not be understood: quantity, duration, rate, name",
    E0007 Error "a name that is taken",
    E0008 Error "a name that nothing has",
    E0009 Error "a wait without a bound",
    E0010 Error "a field that does not go with the others beside it",
    E0011 Error "nothing is expected, so that a pass would prove nothing",
    E0012 Error "an expectation that can not be evaluated",
    E0013 Error "expectations that exclude each other",
    E0014 Error "a manifest that is not a Kubernetes object",
    E0015 Error "a manifest file that can not be read",
    E0016 Error "a kubelet configuration that the kubelet would refuse or misread",
    E0017 Error "a fill that can not reach the threshold",
    E0018 Error "a threshold that never fires",
    E0019 Error "something starts that was started, or ends before it started",
    E0020 Error "a priority out of range",
    E0021 Error "a node that the machine can not hold",
    E0022 Error "a workload that does not fit where it must go",
    W0001 Warning "a filler that the kernel probably kills before the kubelet looks",
    W0002 Warning "a workload that no step starts",
    W0003 Warning "an image that a node does not have",
    W0004 Warning "a wait that probably runs out",
    W0005 Warning "a run that ends before anything can happen",
    W0006 Warning "a kubelet configuration that probably does not do what it seems to",
    W0007 Warning "a namespace that nothing makes",
    W0008 Warning "a fill above the container's own memory limit",
    W0009 Warning "a quality of service that is not what it seems",
    W0010 Warning "a filler that probably finds no room left before the kubelet looks",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// What kind it is.
    pub code: Code,
    /// Whether it stops the run.
    pub severity: Severity,
    /// Where it is.
    pub location: Location,
    /// Byte offset of the place in its file.
    pub offset: u32,
    /// Length of the place in bytes; 0 where no end is known.
    pub length: u32,
    /// What is wrong and what was expected.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    /// One line, as compilers write it: `file:line:column: error[E0001]: message (help)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}[{}]: {}", self.location, self.severity, self.code, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " (help: {help})"))
    }
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As it was named on the command line, or relative to the scenario.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// The files that were read, the scenario first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// Takes a file in and gives its number.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> u32 {
        self.0.push(Source { name: name.into(), text: text.into() });
        u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX)
    }

    /// The file of a number.
    #[must_use]
    pub fn get(&self, source: u32) -> Option<&Source> {
        self.0.get(source as usize)
    }

    /// The file of a name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Source> {
        self.0.iter().find(|source| source.name == name)
    }

    /// A mark as people read it.
    #[must_use]
    pub fn locate(&self, mark: Mark) -> Location {
        Location {
            file: self.get(mark.source).map(|source| source.name.clone()).unwrap_or_default(),
            line: mark.line,
            column: mark.column,
        }
    }

    /// A diagnostic at a mark.
    #[must_use]
    pub fn diagnostic(&self, problem: Problem) -> Diagnostic {
        Diagnostic {
            code: problem.code,
            severity: problem.code.severity(),
            location: self.locate(problem.mark),
            offset: problem.mark.offset,
            length: problem.mark.length,
            message: on_one_line(problem.message),
            help: problem.help.map(on_one_line),
        }
    }
}

/// A sentence in which what a file says can neither break the line nor speak to the terminal.
fn on_one_line(text: String) -> String {
    let breaks = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(breaks) {
        return text;
    }
    text.chars()
        .flat_map(|c| if breaks(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

/// A diagnostic that does not know its file's name yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind it is.
    pub code: Code,
    /// Where it is.
    pub mark: Mark,
    /// What is wrong and what was expected.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem without help.
    pub fn new(code: Code, mark: Mark, message: impl Into<String>) -> Self {
        Self { code, mark, message: message.into(), help: None }
    }

    /// The same with help.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// All that is wrong with a scenario, and the files that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostics {
    /// In the order of the files and of their lines; no two alike.
    pub list: Vec<Diagnostic>,
    /// The files.
    pub sources: Sources,
}

impl Diagnostics {
    /// Puts problems in order.
    #[must_use]
    pub fn new(mut problems: Vec<Problem>, sources: Sources) -> Self {
        problems.sort_by(|one, other| {
            (one.mark, one.code, &one.message).cmp(&(other.mark, other.code, &other.message))
        });
        problems.dedup();
        Self { list: problems.into_iter().map(|problem| sources.diagnostic(problem)).collect(), sources }
    }

    /// Whether any of them stops the run.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// How many of a severity there are.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }
}

impl fmt::Display for Diagnostics {
    /// One line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// The nearest of some names to one that is none of them.
#[must_use]
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody mistypes a word into a page, and comparing one would cost its length squared.
    if name.len() > 100 {
        return None;
    }
    let lowered = name.to_lowercase();
    names
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&lowered, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= (known.chars().count().max(name.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
