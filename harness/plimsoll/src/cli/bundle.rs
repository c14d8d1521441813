//! `bundle`.

use std::path::{Path, PathBuf};
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
        // One that was imported was verified before it was put there.
        let checked = if arguments.verify { bundle.verify() } else { bundle.check() };
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

/// Unpacks beside where it will be, compares every file with its checksum, and only then moves it there. A bundle that is there
/// already stays if it is whole, since runs may be using it.
fn import(archive: &Path) -> Result<Bundle, String> {
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
        let of_the_archive = |error: &dyn std::fmt::Display| {
            format!("{}: {error}\nhelp: carry the archive here anew", archive.display())
        };
        let bundle = Bundle::read(&partial).map_err(|error| of_the_archive(&error))?;
        bundle.intact().map_err(|error| of_the_archive(&error))?;
        let folder = bundles.join(format!("{}-{}", bundle.contents.kubernetes, bundle.contents.key));
        put(&partial, &folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Bundle::read(&folder).map_err(|error| error.to_string())
    };
    let unpacked = unpack();
    let _ = std::fs::remove_dir_all(&partial);
    unpacked
}

/// Moves a bundle that is whole to where it belongs, in the place of one that is not.
fn put(partial: &Path, folder: &Path) -> std::io::Result<()> {
    if folder.exists() {
        match Bundle::read(folder).and_then(|bundle| bundle.verify()) {
            Ok(()) => return Ok(()),
            Err(damage) => eprintln!("replaced: {}", damage.to_string().lines().next().unwrap_or_default()),
        }
        let aside = partial.with_extension("replaced");
        std::fs::rename(folder, &aside)?;
        let put = std::fs::rename(partial, folder);
        let _ = std::fs::remove_dir_all(&aside);
        return put;
    }
    std::fs::rename(partial, folder)
}
