//! A filler that may find no room for as much as a context.

use std::fmt;
use std::io;

use plimsoll_hog::filler::{Filler, Shortage};
use plimsoll_hog::report::{Gpu, Reason, Resource, Simulated, Unit};

use crate::amount::GRANULE;
use crate::driver::CudaError;
use crate::memory::GpuMemory;

/// GPU memory by way of contexts that are made when there is room for them. A context takes hundreds of megabytes of a device by itself, so
/// that on a full one the making of it is the first allocation to fail; what becomes of that is the same flag as for all others.
pub struct Latecomer<'a> {
    make: Box<dyn FnMut() -> Result<GpuMemory, CudaError> + 'a>,
    made: Option<GpuMemory>,
    simulated: bool,
    target: u64,
}

impl<'a> Latecomer<'a> {
    /// Makes the contexts, or finds that there is no room for them now.
    ///
    /// # Errors
    ///
    /// When a device can not be used.
    pub fn new(
        simulated: bool,
        mut make: impl FnMut() -> Result<GpuMemory, CudaError> + 'a,
    ) -> Result<Self, CudaError> {
        let made = match make() {
            Ok(made) => Some(made),
            Err(error) if error.is_out_of_memory() => None,
            Err(error) => return Err(error),
        };
        Ok(Self { make: Box::new(make), made, simulated, target: 0 })
    }
}

impl fmt::Debug for Latecomer<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Latecomer").field("made", &self.made).finish_non_exhaustive()
    }
}

impl Filler for Latecomer<'_> {
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
        self.made.as_mut().map_or(Ok(()), |made| made.prepare(target))
    }

    fn advance(&mut self, goal: u64) -> Result<(), Shortage> {
        if let Some(made) = &mut self.made {
            return made.advance(goal);
        }
        let made = (self.make)().map_err(|error| {
            let what = "making a context";
            if error.is_out_of_memory() {
                Shortage::new(what, io::Error::new(io::ErrorKind::OutOfMemory, error))
            } else {
                Shortage::of_kind(Reason::Lost, what, io::Error::other(error))
            }
        })?;
        let made = self.made.insert(made);
        made.prepare(self.target)?;
        made.advance(goal)
    }

    fn settle(&mut self) -> Result<(), Shortage> {
        self.made.as_mut().map_or(Ok(()), Filler::settle)
    }

    fn filled(&self) -> u64 {
        self.made.as_ref().map_or(0, Filler::filled)
    }

    fn holds(&mut self) -> io::Result<u64> {
        self.made.as_mut().map_or(Ok(0), Filler::holds)
    }

    fn check(&mut self) -> Result<(), Shortage> {
        self.made.as_mut().map_or(Ok(()), Filler::check)
    }

    fn gpu(&mut self) -> Option<Gpu> {
        let nothing = Gpu { stamp: self.simulated.then_some(Simulated::Simulated), ..Gpu::default() };
        self.made.as_mut().map_or(Some(nothing), Filler::gpu)
    }

    fn release(&mut self) -> io::Result<()> {
        self.made.as_mut().map_or(Ok(()), Filler::release)
    }
}
