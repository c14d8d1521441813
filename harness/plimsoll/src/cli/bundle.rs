//! `bundle`.

use std::path::PathBuf;
use std::process::Command;

use super::{BundleChoice, Exit, print};
use crate::bundle::{Bundle, DEFAULT_KUBERNETES, cache_folder};

/// What `bundle` takes.
#[derive(Debug, clap::Args)]
pub(super) struct BundleArguments {
    /// The Kubernetes version
    #[arg(long, default_value = DEFAULT_KUBERNETES)]
    kubernetes: String,
    #[command(flatten)]
    choice: BundleChoice,
    /// Compare every file with its checksum
    #[arg(long)]
    verify: bool,
    /// Unpack an archive that `ci/node-bundle/build --pack` made into the cache
    #[arg(long, value_name = "ARCHIVE", conflicts_with = "bundle")]
    import: Option<PathBuf>,
}

pub(super) fn bundle(arguments: &BundleArguments) -> Exit {
    let found = match &arguments.import {
        Some(archive) => import(archive),
        None => Bundle::find(&arguments.kubernetes, arguments.choice.bundle.as_deref())
            .map_err(|error| error.to_string()),
    };
    let checked = found.and_then(|bundle| {
        let checked =
            if arguments.verify || arguments.import.is_some() { bundle.verify() } else { bundle.check() };
        checked.map(|()| bundle).map_err(|error| error.to_string())
    });
    match checked {
        Ok(bundle) => {
            let contents = &bundle.contents;
            print(&format!(
                "{}\nKubernetes {}, containerd {}, runc {}{}\n",
                bundle.folder.display(),
                contents.kubernetes,
                contents.containerd,
                contents.runc,
                if arguments.verify { ", every file as it was built" } else { "" }
            ))
        }
        Err(message) => {
            eprintln!("error: {message}");
            Exit::CouldNotRun
        }
    }
}

/// Unpacks beside where it will be, and moves it there when it is whole.
fn import(archive: &PathBuf) -> Result<Bundle, String> {
    let bundles = cache_folder().join("bundles");
    let partial = bundles.join(format!(".importing-{}", std::process::id()));
    let unpack = || -> Result<Bundle, String> {
        std::fs::create_dir_all(&partial).map_err(|error| format!("{}: {error}", partial.display()))?;
        let status = Command::new("tar").arg("-C").arg(&partial).arg("-xf").arg(archive).status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("{}: tar: {status}", archive.display())),
            Err(error) => return Err(format!("tar: {error}")),
        }
        let bundle = Bundle::read(&partial).map_err(|error| error.to_string())?;
        let folder = bundles.join(format!("{}-{}", bundle.contents.kubernetes, bundle.contents.key));
        if !folder.exists() {
            std::fs::rename(&partial, &folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        Bundle::read(&folder).map_err(|error| error.to_string())
    };
    let unpacked = unpack();
    let _ = std::fs::remove_dir_all(&partial);
    unpacked
}
