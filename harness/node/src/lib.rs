//! What runs inside a Plimsoll node.
//!
//! [`config`] is what a node is told, [`report`] what it says: JSON lines on the standard output of its init.

pub mod report;
