//! What runs inside a Plimsoll node.
//!
//! [`config`] is what a node is told and [`report`] what it says: JSON lines on the standard output of its
//! [`init`]. [`pki`] makes the credentials of one run, [`component`] the flags and files of what the init starts.
//! [`mount`] stands in for two commands that a root made from the bundle alone lacks.

pub mod component;
pub mod config;
pub mod init;
pub mod mount;
pub mod pki;
pub mod report;
