//! The GPU hog as a process, on the simulated driver.

mod faults;
mod filling;
mod machine;
mod others;
