//! Who goes next on a node, and why: documents in, an explanation out.
//!
//! - [`Documents`] and [`Look`]: what is known of a node, read from what kubectl and the kubelet give.
//! - [`Explanation`]: what follows from it, for people; [`Look::answer`] is the same for programs.
//! - [`text`]: an explanation in words and tables.
//! - [`live`]: asking an API server for the documents. The one part that is not a function of its input.

mod derive;
mod explanation;
pub mod live;
mod look;
pub(crate) mod reasons;
mod refusal;
mod rows;
pub mod text;

pub use explanation::{Exempt, Explanation, LocalLimit, Next, Observed, Order, Ranked, ThresholdState, When};
pub use look::{Document, Documents, InputError, LeftOut, Look};
pub use refusal::{Asked, Refusal};
