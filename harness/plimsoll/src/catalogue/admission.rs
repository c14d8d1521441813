//! Who may start now.

use std::collections::{BTreeMap, VecDeque};

use super::needs::{Needs, Room};

/// Scenarios that wait and scenarios that run, by their place in a list. It only counts; whoever runs them tells it.
///
/// Scenarios start in the order of the list, and one that does not fit is overtaken by others that do: they are all
/// going to run, and those that wait cost nothing. One that needs the machine for itself comes after all others. What would
/// fit no machine of this size runs alone.
#[derive(Debug, Clone)]
pub struct Admission {
    room: Room,
    waiting: VecDeque<(usize, Needs)>,
    running: BTreeMap<usize, Needs>,
}

impl Admission {
    /// All of these wait.
    #[must_use]
    pub fn new(room: Room, needs: impl IntoIterator<Item = Needs>) -> Self {
        let (exclusive, shared): (Vec<_>, Vec<_>) =
            needs.into_iter().enumerate().partition(|(_, needs)| needs.exclusive);
        Self { room, waiting: shared.into_iter().chain(exclusive).collect(), running: BTreeMap::new() }
    }

    /// The next that may start beside those that run; it counts as booting from now on.
    pub fn start(&mut self) -> Option<usize> {
        let place = self.waiting.iter().position(|(_, needs)| self.fits(*needs))?;
        let (index, needs) = self.waiting.remove(place)?;
        self.running.insert(index, needs.booting());
        Some(index)
    }

    /// It has booted, and takes less from now on.
    pub fn booted(&mut self, index: usize, needs: Needs) {
        if let Some(running) = self.running.get_mut(&index) {
            *running = needs;
        }
    }

    /// It is over.
    pub fn ended(&mut self, index: usize) {
        self.running.remove(&index);
    }

    /// Nothing that waits is to start any more; what was waiting.
    pub fn give_up(&mut self) -> Vec<usize> {
        self.waiting.drain(..).map(|(index, _)| index).collect()
    }

    fn fits(&self, needs: Needs) -> bool {
        if self.running.is_empty() {
            return true;
        }
        if needs.exclusive || self.running.values().any(|running| running.exclusive) {
            return false;
        }
        let needs = needs.booting();
        let sum = |of: fn(&Needs) -> u64| self.running.values().map(of).fold(of(&needs), u64::saturating_add);
        self.running.len() < self.room.scenarios
            && sum(|needs| needs.memory) <= self.room.memory
            && sum(|needs| needs.disk) <= self.room.disk
            && sum(|needs| needs.inotify) <= self.room.inotify
            && sum(|needs| needs.tasks) <= self.room.tasks
            && sum(|needs| needs.processor) <= self.room.processor
    }
}
