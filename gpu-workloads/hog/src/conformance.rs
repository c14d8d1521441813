//! One list of calls, made on whatever driver there is: what the GPU workloads rely on. The simulated driver has to answer as
//! a real one does.

use std::time::{Duration, Instant};

use plimsoll_hog::report::Simulated;
use serde::{Deserialize, Serialize};

use crate::amount::GRANULE;
use crate::driver::{Context, CudaError, Device, Driver, Part};
use crate::management::Management;
use crate::pattern::{ELEMENT, differing};

/// One thing that must be so, and whether it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `SIMULATED` when no device had a part in this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Simulated>,
    /// What must be so.
    pub name: String,
    /// How it went.
    pub outcome: Outcome,
    /// What was seen.
    pub seen: String,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is so.
    Passed,
    /// It is not.
    Failed,
    /// It could not be seen.
    CouldNotCheck,
}

/// The one check of the list that a machine may not let anybody make: in a PID namespace of its own NVML does not say what a
/// process holds.
pub const NVML: &str = "NVML knows the device and this process";

/// How two drivers answered otherwise, in a sentence each: the first named `one`, the second `other`. What one of them could not be asked says
/// nothing of the other.
pub fn differences((one, first): (&str, &[Check]), (other, second): (&str, &[Check])) -> Vec<String> {
    let find = |checks: &[Check], name: &str| checks.iter().find(|check| check.name == name).cloned();
    let mut names: Vec<&str> = first.iter().chain(second).map(|check| check.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let difference = |name: &str| {
        let word = |check: &Option<Check>| {
            check
                .as_ref()
                .map_or("not asked".to_owned(), |check| format!("{:?}: {}", check.outcome, check.seen))
        };
        let (left, right) = (find(first, name), find(second, name));
        let alike = match (&left, &right) {
            (Some(left), Some(right)) => {
                let unseen = Outcome::CouldNotCheck;
                left.outcome == right.outcome || left.outcome == unseen || right.outcome == unseen
            }
            _ => false,
        };
        (!alike).then(|| format!("{name}: {one} {}, {other} {}", word(&left), word(&right)))
    };
    names.into_iter().filter_map(difference).collect()
}

/// What a step answers: what it saw, and whether that is as it must be.
type Seen = Result<(Option<bool>, String), CudaError>;

/// Makes the calls on one device, and tells each check to `tell`. Answers whether none failed.
pub fn run(
    driver: &Driver,
    management: Option<&Management>,
    device: &Device,
    tell: &mut dyn FnMut(Check),
) -> bool {
    let mut passed = true;
    let mut check = |name: &str, seen: Seen| {
        let (outcome, seen) = match seen {
            Ok((Some(true), seen)) => (Outcome::Passed, seen),
            Ok((Some(false), seen)) => (Outcome::Failed, seen),
            Ok((None, seen)) => (Outcome::CouldNotCheck, seen),
            Err(error) => (Outcome::Failed, error.to_string()),
        };
        passed &= outcome != Outcome::Failed;
        let stamp = driver.simulated.then_some(Simulated::Simulated);
        tell(Check { stamp, name: name.to_owned(), outcome, seen });
        outcome == Outcome::Passed
    };
    check(
        "the device has an identifier, a name and memory",
        Ok((
            Some(device.uuid.len() == 40 && !device.name.is_empty() && device.total >= 1 << 30),
            format!("{} {} {}", device.uuid, device.name, device.total),
        )),
    );
    let mut context = match Context::new(device.clone()) {
        Ok(context) => context,
        Err(error) => {
            check("a context is made", Err(error));
            return passed;
        }
    };
    check("a context is made", Ok((Some(true), String::new())));
    let loaded = context.load_kernels();
    if !check("kernels are loaded from PTX", loaded.map(|()| (Some(true), String::new()))) {
        return passed;
    }
    check(NVML, nvml(management, &context));
    check("an allocation takes as much as it says, and gives it back", exact(&context));
    check("more than there is answers that memory is out, and nothing is taken", too_much(&context));
    check("the pattern reads back as it is computed here", pattern(&context));
    check("a byte that was changed is found, and where", found(&context));
    check("what was freed can be had again", freed(&context));
    check("all there is can be taken, and comes back", all(&context));
    check("a kernel takes the time that it is told to", busy(&context));
    passed
}

fn nvml(management: Option<&Management>, context: &Context) -> Seen {
    let Some(management) = management else { return Ok((None, "there is no NVML".to_owned())) };
    let Some(facts) = management.device(&context.device.uuid) else {
        return Ok((Some(false), format!("NVML does not know {}", context.device.uuid)));
    };
    let memory = facts.memory.unwrap_or(0);
    if memory < context.device.total {
        return Ok((Some(false), format!("NVML says {memory} bytes, CUDA {}", context.device.total)));
    }
    match management.own(&context.device.uuid) {
        Some(own) => Ok((Some(own > 0), format!("this process holds {own} bytes"))),
        None => {
            Ok((None, "NVML does not say what this process holds, as in a container of its own".to_owned()))
        }
    }
}

/// Others on the device may change what is free meanwhile; a few attempts find a quiet moment.
fn attempts(mut once: impl FnMut() -> Seen) -> Seen {
    let mut last = once()?;
    for _ in 0..4 {
        if last.0 == Some(true) {
            break;
        }
        last = once()?;
    }
    Ok(last)
}

fn exact(context: &Context) -> Seen {
    attempts(|| {
        let (before, _) = context.memory()?;
        let block = context.allocate(64 * GRANULE)?;
        let (with, _) = context.memory()?;
        context.free(block)?;
        let (after, _) = context.memory()?;
        let taken = before.saturating_sub(with);
        let seen = format!("{taken} bytes for {}, {} left taken", 64 * GRANULE, before.saturating_sub(after));
        Ok((Some(taken == 64 * GRANULE && after == before), seen))
    })
}

fn too_much(context: &Context) -> Seen {
    let (before, total) = context.memory()?;
    let refused = context.allocate(total + GRANULE);
    let (after, _) = context.memory()?;
    match refused {
        Err(error) if error.is_out_of_memory() => Ok((Some(after == before), error.to_string())),
        Err(error) => Ok((Some(false), error.to_string())),
        Ok(block) => {
            context.free(block)?;
            Ok((Some(false), "it was given".to_owned()))
        }
    }
}

/// With an index beyond 32 bits, since cards have more elements than that.
const FIRST: u64 = (1 << 32) - 1000;

fn pattern(context: &Context) -> Seen {
    let block = context.allocate(GRANULE)?;
    context.fill(&block, Part { seed: 11, first: FIRST })?;
    let mut bytes = vec![0; GRANULE as usize];
    context.read(&block, 0, &mut bytes)?;
    context.free(block)?;
    let wrong = differing(&bytes, 11, FIRST);
    Ok((Some(wrong == 0), format!("{wrong} of {} elements differ", GRANULE / ELEMENT)))
}

fn found(context: &Context) -> Seen {
    let block = context.allocate(GRANULE)?;
    let part = Part { seed: 12, first: 5 };
    context.fill(&block, part)?;
    let clean = context.verify(&block, part)?;
    // The first element of another index: one element is wrong, and nothing else.
    let mut byte = [0];
    context.read(&block, 0, &mut byte)?;
    context.write(&block, &[byte[0] ^ 1])?;
    let changed = context.verify(&block, part)?;
    let other = context.verify(&block, Part { seed: 13, first: 5 })?;
    context.free(block)?;
    let right =
        (clean.count, changed.count, changed.first, other.count) == (0, 1, Some(5), GRANULE / ELEMENT);
    Ok((Some(right), format!("clean {clean:?}, one byte changed {changed:?}, another seed {other:?}")))
}

fn freed(context: &Context) -> Seen {
    attempts(|| {
        let (before, _) = context.memory()?;
        for _ in 0..100 {
            let block = context.allocate(GRANULE)?;
            context.free(block)?;
        }
        let (after, _) = context.memory()?;
        Ok((Some(after == before), format!("{before} bytes free, {after} after 100 times")))
    })
}

fn all(context: &Context) -> Seen {
    // The first time a driver may keep tables of its own for so much memory.
    attempts(|| {
        let cycle = crate::cycles::run(context, 1, false)?;
        let most = u128::from(cycle.allocated) * 100 >= u128::from(cycle.free_before) * 99;
        let seen = format!(
            "{} of {} bytes free, {} left, {} free after",
            cycle.allocated, cycle.free_before, cycle.free_exhausted, cycle.free_after
        );
        Ok((Some(most && cycle.free_after == cycle.free_before), seen))
    })
}

fn busy(context: &Context) -> Seen {
    let stream = context.stream()?;
    let began = Instant::now();
    context.busy(&stream, Duration::from_millis(50))?;
    stream.synchronize()?;
    let took = began.elapsed();
    Ok((Some(took >= Duration::from_millis(45)), format!("{took:?} for 50ms")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, outcome: Outcome, seen: &str) -> Check {
        Check { stamp: None, name: name.to_owned(), outcome, seen: seen.to_owned() }
    }

    #[test]
    fn drivers_differ_by_what_they_answered_and_not_by_what_could_not_be_asked() {
        use Outcome::{CouldNotCheck, Failed, Passed};
        let card =
            [check("a", Passed, "1"), check(NVML, CouldNotCheck, "a container"), check("b", Passed, "")];
        let simulated = [check("a", Passed, "2"), check(NVML, Passed, ""), check("b", Passed, "")];
        assert!(differences(("card", &card), ("simulated", &simulated)).is_empty());
        let wrong = [check("a", Failed, "no"), check(NVML, Passed, "")];
        assert_eq!(
            differences(("card", &card), ("simulated", &wrong)),
            ["a: card Passed: 1, simulated Failed: no", "b: card Passed: , simulated not asked"]
        );
    }
}
