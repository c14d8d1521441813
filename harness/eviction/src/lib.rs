//! How the kubelet evicts pods under node pressure, as pure functions.
