//! Tests what Kubernetes nodes do under pressure.
