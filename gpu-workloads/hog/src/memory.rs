//! GPU memory: allocated exactly, every byte written, measured by the driver.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plimsoll_hog::filler::{Filler, Shortage};
use plimsoll_hog::report::{Gpu, GpuDevice, GpuMeasure, MemoryTest, Reason, Resource, Simulated, Unit};

use crate::amount::GRANULE;
use crate::compute::Compute;
use crate::driver::{Block, Context, CudaError, Device, Difference, Part};
use crate::management::Management;
use crate::pattern::ELEMENT;

/// The most that one step takes. Writing it takes less than a millisecond on a current card and some on an old one.
const STEP: u64 = 1 << 30;

/// What is written to what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Zeros.
    Zeros,
    /// The pattern, which can be compared.
    Pattern,
}

/// When the memory test is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Testing {
    /// How often all is written and compared once the amount is reached; 0 is never.
    pub passes: u32,
    /// How often all is written anew and compared while it is held.
    pub every: Option<Duration>,
}

/// A device, and how many bytes of it should be held.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The device.
    pub device: Device,
    /// The bytes.
    pub amount: u64,
}

/// A filler of GPU memory, of one device or several alike.
#[derive(Debug)]
pub struct GpuMemory {
    /// It works in the contexts, and ends before they do.
    work: Option<Compute>,
    /// How much work there is to be, in percent of the time.
    work_percent: Option<u32>,
    wanted: Vec<Wanted>,
    /// What was prepared for, of all devices together.
    target: u64,
    /// The devices with their contexts; none as long as there is no room for one. A context takes hundreds of megabytes by itself, so that on a full
    /// device the making of it is the first allocation to fail.
    cards: Vec<Card>,
    management: Option<Management>,
    simulated: bool,
    write: Write,
    testing: Testing,
    tested: MemoryTest,
    last_test: Option<Instant>,
    seed: u32,
    started: Instant,
    /// How long after the start the first byte was written.
    first_byte: Option<Duration>,
}

/// A device of which memory is held.
#[derive(Debug)]
struct Card {
    context: Arc<Context>,
    /// What was asked for at first; a later change is shared out in this proportion.
    asked: u64,
    target: u64,
    blocks: Vec<Held>,
    filled: u64,
    /// What this process held when it had its context and nothing else.
    own_before: Option<u64>,
    free_before: Option<u64>,
    context_time: Duration,
    free_after_context: u64,
    mig: Option<bool>,
    written: Moved,
    compared: Moved,
}

#[derive(Debug)]
struct Held {
    block: Block,
    part: Part,
}

/// Bytes moved, and the time that it took.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    bytes: u64,
    time: Duration,
}

impl Moved {
    fn add(&mut self, bytes: u64, time: Duration) {
        self.bytes += bytes;
        self.time += time;
    }

    fn bandwidth(self) -> Option<u64> {
        let nanoseconds = self.time.as_nanos();
        (nanoseconds > 0).then(|| (u128::from(self.bytes) * 1_000_000_000 / nanoseconds) as u64)
    }
}

impl GpuMemory {
    /// A filler that holds nothing but contexts, or not even those if there is no room for them now, of a process that was started then.
    ///
    /// # Errors
    ///
    /// When a device can not be used.
    pub fn new(
        wanted: Vec<Wanted>,
        management: Option<Management>,
        simulated: bool,
        write: Write,
        testing: Testing,
        work_percent: Option<u32>,
        started: Instant,
    ) -> Result<GpuMemory, Shortage> {
        let mut filler = GpuMemory {
            work: None,
            work_percent,
            wanted,
            target: 0,
            cards: Vec::new(),
            management,
            simulated,
            write,
            testing,
            tested: MemoryTest::default(),
            last_test: None,
            seed: 1,
            started,
            first_byte: None,
        };
        match filler.open() {
            Err(shortage) if shortage.reason != Reason::Exhausted => Err(shortage),
            _ => Ok(filler),
        }
    }

    /// Makes the contexts of all devices, or of none.
    fn open(&mut self) -> Result<(), Shortage> {
        let open = |wanted: &Wanted| {
            self.card(wanted).map_err(|error| {
                let what = format!("device {}: making a context", wanted.device.uuid);
                if error.is_out_of_memory() {
                    Shortage::new(what, io::Error::new(io::ErrorKind::OutOfMemory, error))
                } else {
                    Shortage::of_kind(Reason::Lost, what, io::Error::other(error))
                }
            })
        };
        self.cards = self.wanted.iter().map(open).collect::<Result<_, _>>()?;
        let contexts = self.cards.iter().map(|card| Arc::clone(&card.context)).collect();
        self.work = self.work_percent.map(|percent| Compute::start(contexts, percent));
        self.prepare(self.target)
    }

    fn card(&self, wanted: &Wanted) -> Result<Card, CudaError> {
        let management = self.management.as_ref();
        let uuid = &wanted.device.uuid;
        let free_before = management.and_then(|management| management.device(uuid)?.free);
        let began = Instant::now();
        let mut context = Context::new(wanted.device.clone())?;
        if self.write == Write::Pattern || self.work_percent.is_some() {
            context.load_kernels()?;
        }
        let context_time = began.elapsed();
        let (free_after_context, _) = context.memory()?;
        Ok(Card {
            own_before: management.and_then(|management| management.own(uuid)),
            mig: management.and_then(|management| management.device(uuid)?.mig),
            context: Arc::new(context),
            asked: wanted.amount,
            target: 0,
            blocks: Vec::new(),
            filled: 0,
            free_before,
            context_time,
            free_after_context,
            written: Moved::default(),
            compared: Moved::default(),
        })
    }

    /// Compares all that is held with what was written. Before, writes it anew with another seed unless it is fresh.
    fn test(&mut self, rewrite: bool) -> Result<(), Shortage> {
        if self.cards.is_empty() {
            // A pass over nothing says nothing.
            return Ok(());
        }
        if rewrite {
            self.seed = self.seed.wrapping_add(1);
            for card in &mut self.cards {
                card.rewrite(self.seed).map_err(|error| card.lost("writing", error))?;
            }
        }
        let mut wrong = None;
        for card in &mut self.cards {
            let (found, address) = card.compare().map_err(|error| card.lost("comparing", error))?;
            self.tested.compared += card.filled;
            self.tested.differing += found.count;
            if found.count > 0 && wrong.is_none() {
                wrong = Some(format!(
                    "{}: {} of {} elements of {ELEMENT} bytes do not read back as written, the first at byte {address} of what is held",
                    card.name(),
                    found.count,
                    card.filled / ELEMENT,
                ));
            }
        }
        self.tested.passes += 1;
        self.last_test = Some(Instant::now());
        match wrong {
            None => Ok(()),
            Some(what) => {
                Err(Shortage::of_kind(Reason::Corrupted, what, io::Error::other("the memory is faulty")))
            }
        }
    }
}

impl Card {
    fn name(&self) -> String {
        format!("device {} ({})", self.context.device.index, self.context.device.uuid)
    }

    /// An error after which the device is of no use.
    fn lost(&self, doing: &str, error: CudaError) -> Shortage {
        Shortage::of_kind(Reason::Lost, format!("{doing} on {}", self.name()), io::Error::other(error))
    }

    /// Allocates and writes one block of at most the missing amount. Where memory is scarce, smaller blocks still fit.
    fn grow(&mut self, missing: u64, write: Write, seed: u32) -> Result<(), Shortage> {
        let mut length = missing.min(STEP);
        let block = loop {
            match self.context.allocate(length) {
                Ok(block) => break block,
                Err(error) if error.is_out_of_memory() && length > GRANULE => {
                    length = (length / 2).next_multiple_of(GRANULE);
                }
                Err(error) if error.is_out_of_memory() => {
                    return Err(Shortage::new(
                        format!(
                            "allocating {length} more bytes on {}, beside {} held",
                            self.name(),
                            self.filled
                        ),
                        io::Error::new(io::ErrorKind::OutOfMemory, error),
                    ));
                }
                Err(error) => return Err(self.lost("allocating", error)),
            }
        };
        let part = Part { seed, first: self.filled / ELEMENT };
        let length = block.length;
        self.blocks.push(Held { block, part });
        // Held from now on, so that it is given back whatever becomes of the writing.
        self.filled += length;
        let began = Instant::now();
        let held = &self.blocks[self.blocks.len() - 1];
        match write {
            Write::Zeros => self.context.clear(&held.block),
            Write::Pattern => self.context.fill(&held.block, part),
        }
        .and_then(|()| self.context.synchronize())
        .map_err(|error| self.lost("writing", error))?;
        self.written.add(length, began.elapsed());
        Ok(())
    }

    /// Frees blocks from the last on until no more than `goal` is held; a block that is only partly too much goes whole.
    fn shrink(&mut self, goal: u64) -> Result<(), CudaError> {
        while self.filled > goal {
            let Some(held) = self.blocks.pop() else { break };
            self.filled -= held.block.length;
            self.context.free(held.block)?;
        }
        Ok(())
    }

    fn rewrite(&mut self, seed: u32) -> Result<(), CudaError> {
        let began = Instant::now();
        for held in &mut self.blocks {
            held.part.seed = seed;
            self.context.fill(&held.block, held.part)?;
        }
        self.context.synchronize()?;
        self.written.add(self.filled, began.elapsed());
        Ok(())
    }

    /// What differs, and the place of the first that does in bytes of what is held.
    fn compare(&mut self) -> Result<(Difference, u64), CudaError> {
        let (mut all, began) = (Difference::default(), Instant::now());
        for held in &self.blocks {
            let found = self.context.verify(&held.block, held.part)?;
            all.count += found.count;
            all.first = all.first.or(found.first);
        }
        self.compared.add(self.filled, began.elapsed());
        Ok((all, all.first.unwrap_or(0) * ELEMENT))
    }

    /// What is held by the driver's account, and by which measure.
    fn holds(&self, management: Option<&Management>) -> Option<(u64, GpuMeasure)> {
        let own = management.and_then(|management| management.own(&self.context.device.uuid));
        if let (Some(before), Some(now)) = (self.own_before, own) {
            return Some((now.saturating_sub(before), GpuMeasure::Process));
        }
        let (free, _) = self.context.memory().ok()?;
        Some((self.free_after_context.saturating_sub(free), GpuMeasure::Device))
    }
}

impl Filler for GpuMemory {
    fn resource(&self) -> Resource {
        Resource::GpuMemory
    }

    fn unit(&self) -> Unit {
        Unit::Bytes
    }

    fn granule(&self) -> u64 {
        GRANULE
    }

    fn prepare(&mut self, target: u64) -> Result<(), Shortage> {
        self.target = target;
        let targets = share(target, &self.cards.iter().map(|card| card.asked).collect::<Vec<_>>());
        for (card, target) in self.cards.iter_mut().zip(targets) {
            card.target = target;
        }
        Ok(())
    }

    fn advance(&mut self, goal: u64) -> Result<(), Shortage> {
        if self.cards.is_empty() {
            self.open()?;
        }
        let targets: Vec<u64> = self.cards.iter().map(|card| card.target).collect();
        let mut missing = Vec::new();
        for (place, (card, goal)) in self.cards.iter_mut().zip(on_the_way(goal, &targets)).enumerate() {
            if card.filled > goal {
                card.shrink(goal).map_err(|error| card.lost("freeing", error))?;
            }
            missing.push((goal - card.filled, place));
        }
        // The one that is furthest behind first. One that has no more does not keep the others from going on.
        missing.sort_unstable_by(|one, other| other.cmp(one));
        let mut exhausted = None;
        for (missing, place) in missing.into_iter().filter(|(missing, _)| *missing > 0) {
            let grown = self.cards[place].grow(missing, self.write, self.seed);
            if self.first_byte.is_none() && self.cards[place].written.bytes > 0 {
                self.first_byte = Some(self.started.elapsed());
            }
            match grown {
                Err(shortage) if shortage.reason == Reason::Exhausted => {
                    exhausted = exhausted.or(Some(shortage))
                }
                other => return other,
            }
        }
        exhausted.map_or(Ok(()), Err)
    }

    fn settle(&mut self) -> Result<(), Shortage> {
        for pass in 0..self.testing.passes {
            self.test(pass > 0)?;
        }
        Ok(())
    }

    fn filled(&self) -> u64 {
        self.cards.iter().map(|card| card.filled).sum()
    }

    fn holds(&mut self) -> io::Result<u64> {
        let holds = |card: &Card| card.holds(self.management.as_ref()).map(|(bytes, _)| bytes);
        let all: Option<u64> = self.cards.iter().map(holds).sum();
        all.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn check(&mut self) -> Result<(), Shortage> {
        for card in &self.cards {
            card.context.synchronize().map_err(|error| card.lost("holding memory", error))?;
        }
        match (self.testing.every, self.last_test) {
            (Some(every), Some(last)) if last.elapsed() < every => Ok(()),
            (Some(_), _) => self.test(true),
            (None, _) => Ok(()),
        }
    }

    fn gpu(&mut self) -> Option<Gpu> {
        let management = self.management.as_ref();
        let device = |card: &Card| {
            let measured = card.holds(management);
            let device = &card.context.device;
            GpuDevice {
                index: device.index,
                uuid: device.uuid.clone(),
                name: device.name.clone(),
                target: card.target,
                filled: card.filled,
                holds: measured.map(|(bytes, _)| bytes),
                measured: measured.map(|(_, measure)| measure),
                context: card.own_before,
                context_seconds: Some(card.context_time.as_secs_f64()),
                free_before: card.free_before,
                free: card.context.memory().ok().map(|(free, _)| free),
                total: device.total,
                write_bandwidth: card.written.bandwidth(),
                verify_bandwidth: card.compared.bandwidth(),
                mig: card.mig,
                mps: device.mps,
            }
        };
        Some(Gpu {
            stamp: self.simulated.then_some(Simulated::Simulated),
            devices: self.cards.iter().map(device).collect(),
            first_byte_seconds: self.first_byte.map(|time| time.as_secs_f64()),
            memory_test: (self.testing != Testing::default()).then_some(self.tested),
        })
    }

    fn release(&mut self) -> io::Result<()> {
        let mut outcome = Ok(());
        for card in &mut self.cards {
            if let Err(error) = card.shrink(0) {
                // What the driver does not take back it takes when the process ends.
                (card.filled, outcome) = (0, Err(io::Error::other(error)));
                card.blocks.clear();
            }
        }
        outcome
    }
}

/// Shares an amount out in proportion, in whole granules; the whole of the weights gives each its own.
fn share(amount: u64, weights: &[u64]) -> Vec<u64> {
    let all: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let (mut weight_so_far, mut given) = (0u128, 0u64);
    weights
        .iter()
        .map(|weight| {
            weight_so_far += u128::from(*weight);
            // Where the sum of the first ones ends, rather than each on its own, so that nothing is lost to rounding.
            let end = if weight_so_far == all {
                amount
            } else {
                (u128::from(amount) * weight_so_far / all.max(1)) as u64 / GRANULE * GRANULE
            };
            let part = end - given;
            given = end;
            part
        })
        .collect()
}

/// How far each should be when all together should be at `goal`, rounded up to granules. As `goal` grows no part shrinks,
/// and each ends at its target.
fn on_the_way(goal: u64, targets: &[u64]) -> Vec<u64> {
    let all: u128 = targets.iter().map(|target| u128::from(*target)).sum();
    let part = |target: &u64| {
        let part = (u128::from(goal) * u128::from(*target)).div_ceil(all.max(1));
        part.next_multiple_of(u128::from(GRANULE)).min(u128::from(*target)) as u64
    };
    targets.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_are_in_proportion() {
        let gi = 1 << 30;
        assert_eq!(share(40 * gi, &[10 * gi, 30 * gi]), [10 * gi, 30 * gi]);
        assert_eq!(share(20 * gi, &[10 * gi, 30 * gi]), [5 * gi, 15 * gi]);
        assert!(share(7, &[]).is_empty());
        assert_eq!(share(4 * GRANULE, &[0, 0]), [4 * GRANULE, 0]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_in_sharing(granules in 0u64..1 << 20, weights in prop::collection::vec(1u64..1 << 20, 1..9)) {
            let weights: Vec<u64> = weights.iter().map(|weight| weight * GRANULE).collect();
            let amount = granules * GRANULE;
            let parts = share(amount, &weights);
            prop_assert_eq!(parts.iter().sum::<u64>(), amount);
            prop_assert!(parts.iter().all(|part| part % GRANULE == 0));
            prop_assert_eq!(share(weights.iter().sum(), &weights), weights);
        }

        #[test]
        fn on_the_way_no_part_shrinks_and_all_arrive(
            goals in prop::collection::vec(0u64..1000, 2..20),
            targets in prop::collection::vec(0u64..100, 1..5),
        ) {
            let targets: Vec<u64> = targets.iter().map(|target| target * GRANULE).collect();
            let all: u64 = targets.iter().sum();
            let mut goals: Vec<u64> = goals.iter().map(|goal| (goal * GRANULE).min(all)).collect();
            goals.sort_unstable();
            let parts: Vec<Vec<u64>> = goals.iter().map(|goal| on_the_way(*goal, &targets)).collect();
            for (pair, goal) in parts.windows(2).zip(&goals) {
                prop_assert!(pair[0].iter().zip(&pair[1]).all(|(before, after)| after >= before));
                prop_assert!(pair[0].iter().sum::<u64>() >= *goal);
            }
            prop_assert_eq!(on_the_way(all, &targets), targets);
        }
    }
}
