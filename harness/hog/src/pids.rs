//! Process ids: children that sleep until they are killed.

use std::io;

use rustix::process::{
    Pid, Signal, WaitOptions, getppid, kill_process, set_parent_process_death_signal, wait, waitpid,
};

use crate::filler::{Filler, Shortage};
use crate::report::{Resource, Unit};

/// The most that one step starts or ends.
const STEP: usize = 32;

/// A filler of process ids.
#[derive(Debug, Default)]
pub struct Pids {
    children: Vec<Pid>,
}

impl Pids {
    /// Forgets the children that ended without being told to.
    fn reap(&mut self) {
        while let Ok(Some((ended, _))) = wait(WaitOptions::NOHANG) {
            self.children.retain(|child| *child != ended);
        }
    }
}

/// Starts a child that does nothing.
#[expect(unsafe_code, reason = "a process is doubled")]
fn fork_sleeper() -> io::Result<Pid> {
    let parent = rustix::process::getpid();
    // SAFETY: This program has one thread here, and the child makes nothing but system calls.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => sleep_for_ever(parent),
        child => Pid::from_raw(child).ok_or_else(|| io::ErrorKind::NotFound.into()),
    }
}

/// What the child does. It ends with its parent, however that ends.
fn sleep_for_ever(parent: Pid) -> ! {
    let watched = set_parent_process_death_signal(Some(Signal::KILL));
    // The parent may have ended before it was watched. A parent outside of the child's view is no reason
    // to stay either.
    if watched.is_err() || getppid() != Some(parent) {
        end_child();
    }
    loop {
        // Without descriptors this sleeps; a signal that has a handler only wakes it.
        let _ = rustix::event::poll(&mut [], None);
    }
}

#[expect(unsafe_code, reason = "the child must not run what its parent wants run at its end")]
fn end_child() -> ! {
    // SAFETY: It ends this process and touches nothing.
    unsafe { libc::_exit(1) }
}

impl Filler for Pids {
    fn resource(&self) -> Resource {
        Resource::Pids
    }

    fn unit(&self) -> Unit {
        Unit::Count
    }

    fn prepare(&mut self, target: u64) -> Result<(), Shortage> {
        let missing = usize::try_from(target).unwrap_or(usize::MAX).saturating_sub(self.children.len());
        // The list must not grow while process ids, and with them memory, run short.
        self.children.try_reserve_exact(missing).map_err(|error| {
            Shortage::new(format!("making room for {target} processes"), io::Error::other(error))
        })
    }

    fn advance(&mut self, goal: u64) -> Result<(), Shortage> {
        let goal = usize::try_from(goal).unwrap_or(usize::MAX);
        let ended: Vec<Pid> = self.children.drain(goal.min(self.children.len())..).collect();
        for child in ended {
            end(child).map_err(|error| Shortage::new("ending a process", error))?;
        }
        for _ in 0..STEP.min(goal.saturating_sub(self.children.len())) {
            let number = self.children.len() + 1;
            let child =
                fork_sleeper().map_err(|error| Shortage::new(format!("starting process {number}"), error))?;
            self.children.push(child);
        }
        Ok(())
    }

    fn filled(&self) -> u64 {
        self.children.len() as u64
    }

    /// The children that have not ended, by themselves or through somebody else.
    fn holds(&mut self) -> io::Result<u64> {
        self.reap();
        Ok(self.children.len() as u64)
    }

    fn release(&mut self) -> io::Result<()> {
        let children = std::mem::take(&mut self.children);
        children.into_iter().try_for_each(end)
    }
}

fn end(child: Pid) -> io::Result<()> {
    match kill_process(child, Signal::KILL).and_then(|()| waitpid(Some(child), WaitOptions::empty())) {
        // Somebody else has ended it, and it is reaped.
        Ok(_) | Err(rustix::io::Errno::SRCH | rustix::io::Errno::CHILD) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Drop for Pids {
    fn drop(&mut self) {
        let _ = self.release();
    }
}
