//! Where upstream leaves a choice to chance: taking one, or all.

/// Takes one of several options that upstream does not order.
pub trait Choose {
    /// Picks one of `options`, counted from 0. Never called with fewer than two.
    fn choose(&mut self, options: usize) -> usize;

    /// Picks one of the items; the only one without being asked.
    fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T>
    where
        Self: Sized,
    {
        let at = if items.len() > 1 { self.choose(items.len()) } else { 0 };
        items.get(at).or(items.last())
    }
}

/// Always takes the first option.
#[derive(Clone, Copy, Debug, Default)]
pub struct First;

impl Choose for First {
    fn choose(&mut self, _options: usize) -> usize {
        0
    }
}

impl<F: FnMut(usize) -> usize> Choose for F {
    fn choose(&mut self, options: usize) -> usize {
        self(options)
    }
}

/// Every result that some sequence of choices leads to, each once, in the order of the choices.
pub fn every<T: PartialEq>(mut run: impl FnMut(&mut Path) -> T) -> Vec<T> {
    let mut results = Vec::new();
    let mut path = Path::default();
    loop {
        path.at = 0;
        let result = run(&mut path);
        if !results.contains(&result) {
            results.push(result);
        }
        if !path.advance() {
            return results;
        }
    }
}

/// A sequence of choices that is gone through from the first to the last.
#[derive(Debug, Default)]
pub struct Path {
    /// What was chosen at each step, and out of how many.
    steps: Vec<(usize, usize)>,
    at: usize,
}

impl Path {
    /// Goes on to the next sequence; false after the last.
    fn advance(&mut self) -> bool {
        while let Some((chosen, options)) = self.steps.pop() {
            if chosen + 1 < options {
                self.steps.push((chosen + 1, options));
                return true;
            }
        }
        false
    }
}

impl Choose for Path {
    fn choose(&mut self, options: usize) -> usize {
        if self.at == self.steps.len() {
            self.steps.push((0, options));
        }
        let (chosen, _) = self.steps[self.at];
        self.at += 1;
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sequence_is_taken_once() {
        let results = every(|path| {
            let first = path.choose(2);
            if first == 0 { vec![first, path.choose(3)] } else { vec![first] }
        });
        assert_eq!(results, [vec![0, 0], vec![0, 1], vec![0, 2], vec![1]]);
        assert_eq!(every(|path| path.choose(2) / 2), [0]);
    }
}
