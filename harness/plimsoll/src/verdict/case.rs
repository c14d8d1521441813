//! What speaks for and against an expectation, collected until it is decided.

use super::model::{Evidence, State};

/// A sentence, and the observations that it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) text: String,
    pub(super) evidence: Vec<Evidence>,
}

impl Reason {
    pub(super) fn new(text: impl Into<String>, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        Self { text: text.into(), evidence: evidence.into_iter().collect() }
    }
}

/// The case of one expectation.
#[derive(Debug, Default)]
pub(super) struct Case {
    against: Vec<Reason>,
    doubts: Vec<Reason>,
    proofs: Vec<Reason>,
}

/// How many reasons are told.
const TOLD: usize = 6;

/// What a case came to.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) state: State,
    pub(super) because: String,
    pub(super) evidence: Vec<Evidence>,
}

impl Case {
    /// Something shows that it is not so.
    pub(super) fn violated(&mut self, text: impl Into<String>, evidence: impl IntoIterator<Item = Evidence>) {
        self.against.push(Reason::new(text, evidence));
    }

    /// Something shows that it, or a part of it, is so.
    pub(super) fn proven(&mut self, text: impl Into<String>, evidence: impl IntoIterator<Item = Evidence>) {
        self.proofs.push(Reason::new(text, evidence));
    }

    /// Something keeps it from being known.
    pub(super) fn doubt(&mut self, text: impl Into<String>, evidence: impl IntoIterator<Item = Evidence>) {
        self.doubts.push(Reason::new(text, evidence));
    }

    /// Several things keep it from being known.
    pub(super) fn doubts(&mut self, reasons: impl IntoIterator<Item = Reason>) {
        for reason in reasons {
            if !self.doubts.contains(&reason) {
                self.doubts.push(reason);
            }
        }
    }

    /// Something expected did not happen: a violation if the run could have shown it, a doubt where it could not. The
    /// evidence is what was so instead.
    pub(super) fn absent(
        &mut self,
        text: impl Into<String>,
        evidence: impl IntoIterator<Item = Evidence>,
        doubts: Vec<Reason>,
    ) {
        if doubts.is_empty() {
            self.violated(text, evidence);
        } else {
            self.doubt(text, evidence);
            self.doubts(doubts);
        }
    }

    /// Decides: one thing against it outweighs everything, one doubt outweighs every proof, and without any proof
    /// nothing holds.
    pub(super) fn decide(self) -> Judgement {
        let (state, reasons) = if !self.against.is_empty() {
            (State::Violated, self.against)
        } else if !self.doubts.is_empty() {
            (State::Unknown, self.doubts)
        } else if !self.proofs.is_empty() {
            (State::Held, self.proofs)
        } else {
            (State::Unknown, vec![Reason::new("nothing that was observed shows it", [])])
        };
        let because = because(&reasons);
        let mut evidence: Vec<Evidence> = reasons.into_iter().flat_map(|reason| reason.evidence).collect();
        evidence.sort();
        evidence.dedup();
        Judgement { state, because, evidence }
    }
}

/// The reasons as one sentence; of many the first ones, since those after them mostly follow from them.
fn because(reasons: &[Reason]) -> String {
    let mut told: Vec<&str> = reasons.iter().take(TOLD).map(|reason| reason.text.as_str()).collect();
    let more = match reasons.len().saturating_sub(TOLD) {
        0 => None,
        1 => Some("and 1 reason more".to_owned()),
        more => Some(format!("and {more} reasons more")),
    };
    told.extend(more.as_deref());
    told.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_proof_nothing_holds() {
        assert_eq!(Case::default().decide().state, State::Unknown);
    }

    #[test]
    fn a_doubt_outweighs_a_proof_and_a_violation_outweighs_both() {
        let mut case = Case::default();
        case.proven("seen", []);
        case.doubt("blind", []);
        assert_eq!(case.decide().state, State::Unknown);

        let mut case = Case::default();
        case.proven("seen", []);
        case.doubt("blind", []);
        case.violated("not so", []);
        let judgement = case.decide();
        assert_eq!((judgement.state, judgement.because.as_str()), (State::Violated, "not so"));
    }
}
