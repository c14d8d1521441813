//! What the suites share: running the command as people do, and looking at the machine around it.

pub mod accept_node;
pub mod alert;
pub mod catalogue;
pub mod command;
pub mod engine;
pub mod explain;
pub mod kills;
pub mod machine;
pub mod needs;
pub mod numbers;
pub mod random_scenario;
