//! The extended resource that a command is about.

use clap::{Args, ValueEnum};

use super::driver::bytes;
use crate::device_plugin::{Resource, Share};

/// What one unit of the resource is.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ShareArgument {
    /// A whole device.
    Device,
    /// `--unit` of the memory of one device.
    Memory,
}

/// An extended resource.
#[derive(Debug, Args)]
pub(super) struct ResourceArguments {
    /// The extended resource.
    #[arg(long, value_name = "NAME", default_value = "plimsoll.dev/gpu-memory", value_parser = resource_name)]
    resource_name: String,
    /// What one unit of it is.
    #[arg(long, default_value = "memory")]
    share: ShareArgument,
    /// How much memory one unit is, with `--share memory`.
    #[arg(long, value_name = "BYTES", default_value = "1Gi", value_parser = bytes)]
    unit: u64,
}

impl ResourceArguments {
    pub(super) fn resource(&self) -> Resource {
        Resource {
            name: self.resource_name.clone(),
            share: match self.share {
                ShareArgument::Device => Share::Device,
                ShareArgument::Memory => Share::Memory { unit: self.unit },
            },
        }
    }
}

/// A domain, a slash and a name, as extended resources and kinds of devices have it.
pub(super) fn resource_name(text: &str) -> Result<String, String> {
    let valid = |part: &str, others: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || others.as_bytes().contains(&byte);
        let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        part.bytes().all(inner) && ends(part.as_bytes().first()) && ends(part.as_bytes().last())
    };
    match text.split_once('/') {
        Some((domain, name)) if text.len() <= 63 && valid(domain, "-.") && valid(name, "-_.") => {
            Ok(text.to_owned())
        }
        _ => Err("must be a domain, a slash and a name, such as nvidia.com/gpu".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for name in ["nvidia.com/gpu", "aliyun.com/gpu-mem", "nvidia.com/gpu_memory.shared"] {
            assert!(resource_name(name).is_ok(), "{name}");
        }
        for name in ["gpu", "/gpu", "nvidia.com/", "nvidia.com/-gpu", "nvidia.com/a/b", "nvi dia.com/gpu"] {
            assert!(resource_name(name).is_err(), "{name}");
        }
    }
}
