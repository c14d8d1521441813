//! What the suites share: running the command as people do, and looking at the machine around it.

pub mod command;
pub mod machine;
pub mod needs;
