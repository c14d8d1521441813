//! Keeps the filler's own memory small beside what it fills.

use std::ffi::{c_char, c_void};

use rustix::mm::{Advice, madvise};

#[expect(unsafe_code, reason = "the linker's own marks can only be named this way")]
unsafe extern "C" {
    /// Where the program's first segment begins; the linker defines it.
    static __executable_start: c_char;
    /// Where the program's code ends; the linker defines it.
    static etext: c_char;
}

/// Gives back the pages of the program that only reading the command line needed, more than half of
/// them. What is needed again comes back from the page cache.
#[expect(unsafe_code, reason = "advice about the program's own code is given by address")]
pub fn forget_start_up() {
    let page = rustix::param::page_size();
    let from = (&raw const __executable_start).addr().next_multiple_of(page);
    let to = (&raw const etext).addr() / page * page;
    if from < to {
        let start = std::ptr::with_exposed_provenance_mut::<c_void>(from);
        // SAFETY: What lies between the marks is the program's constants and code, mapped privately from
        // its file and never written, so that each page dropped reads the same when it is next used.
        let _ = unsafe { madvise(start, to - from, Advice::LinuxDontNeed) };
    }
}
