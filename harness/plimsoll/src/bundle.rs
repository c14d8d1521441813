//! Finding the node bundle, and knowing that it is whole.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The Kubernetes version that a scenario runs on when it names none.
pub const DEFAULT_KUBERNETES: &str = "1.36.3";
/// Names the bundle's folder when it is not to be looked for.
pub const BUNDLE_VARIABLE: &str = "PLIMSOLL_BUNDLE";
/// Names the folder that holds what is built once; bundles lie in `bundles/` there.
pub const CACHE_VARIABLE: &str = "PLIMSOLL_CACHE";

/// A bundle on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Its folder, with `bin/` in it.
    pub folder: PathBuf,
    /// What it says of itself.
    pub contents: Contents,
}

/// A bundle's `bundle.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    /// The Kubernetes version, such as `1.36.3`.
    pub kubernetes: String,
    /// containerd's version.
    pub containerd: String,
    /// runc's version.
    pub runc: String,
    /// The hash of what it was built from.
    pub key: String,
}

/// Why there is no bundle to run on.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// None was built.
    #[error("no node bundle for Kubernetes {version} in {}\nhelp: ci/node-bundle/build --version {version} builds it (8 minutes, once), or name a bundle's folder with --bundle or {BUNDLE_VARIABLE}", folder.display())]
    Missing {
        /// The version that was asked for.
        version: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A folder was named that holds no bundle.
    #[error("{} is not a node bundle: {reason}\nhelp: ci/node-bundle/build prints the folder of the bundle that it builds", folder.display())]
    NotABundle {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The bundle is for another version.
    #[error("the bundle in {} is Kubernetes {found}, and the scenario asks for {wanted}", folder.display())]
    OtherVersion {
        /// The folder.
        folder: PathBuf,
        /// Its version.
        found: String,
        /// The version that was asked for.
        wanted: String,
    },
    /// A scenario has hollow nodes, and what plays them was not built.
    #[error("hollow nodes need kwok, which is neither in {} nor in {}\nhelp: ci/node-bundle/build --hollow builds it (2 minutes, once)", bundle.display(), folder.display())]
    NoKwok {
        /// The bundle's folder.
        bundle: PathBuf,
        /// Where it is built to.
        folder: PathBuf,
    },
    /// A file is not what was built.
    #[error("the node bundle is damaged: {} {reason}\nhelp: remove {} and build it again with ci/node-bundle/build, or import it again with `plimsoll bundle --import`", file.display(), folder.display())]
    Damaged {
        /// The bundle's folder.
        folder: PathBuf,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What is wrong with a file of a bundle.
#[derive(Debug, thiserror::Error)]
#[error("{} {reason}", file.display())]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// The folder for what is built once.
#[must_use]
pub fn cache_folder() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable(CACHE_VARIABLE).unwrap_or_else(|| {
        variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .unwrap_or_else(|| PathBuf::from("/var/cache"))
            .join("plimsoll")
    })
}

impl Bundle {
    /// The newest bundle of a version: in the folder that is named, else in the cache.
    ///
    /// # Errors
    /// When there is none, or the named one is not of that version.
    pub fn find(version: &str, named: Option<&Path>) -> Result<Self, BundleError> {
        if let Some(folder) = named {
            let bundle = Self::read(folder)?;
            return if bundle.contents.kubernetes == version {
                Ok(bundle)
            } else {
                Err(BundleError::OtherVersion {
                    folder: folder.to_owned(),
                    found: bundle.contents.kubernetes,
                    wanted: version.to_owned(),
                })
            };
        }
        let folder = cache_folder().join("bundles");
        Self::all(&folder)
            .into_iter()
            .rfind(|bundle| bundle.contents.kubernetes == version)
            .ok_or_else(|| BundleError::Missing { version: version.to_owned(), folder })
    }

    /// Every bundle in a folder of bundles, oldest first.
    #[must_use]
    pub fn all(folder: &Path) -> Vec<Self> {
        let mut bundles: Vec<(std::time::SystemTime, Self)> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
            .filter_map(|entry| {
                Some((entry.metadata().ok()?.modified().ok()?, Self::read(&entry.path()).ok()?))
            })
            .collect();
        bundles.sort_by_key(|(modified, _)| *modified);
        bundles.into_iter().map(|(_, bundle)| bundle).collect()
    }

    /// Reads the bundle in a folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(folder: &Path) -> Result<Self, BundleError> {
        let not = |reason: String| BundleError::NotABundle { folder: folder.to_owned(), reason };
        let file = folder.join("bundle.json");
        let text = std::fs::read(&file).map_err(|error| not(format!("{}: {error}", file.display())))?;
        let contents =
            serde_json::from_slice(&text).map_err(|error| not(format!("{}: {error}", file.display())))?;
        Ok(Self { folder: folder.to_owned(), contents })
    }

    /// The folder of its programs.
    #[must_use]
    pub fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// What plays the kubelets of hollow nodes. It is built by itself, since few scenarios need it: beside the bundles, or put
    /// into one.
    ///
    /// # Errors
    /// When it is not there.
    pub fn kwok(&self) -> Result<PathBuf, BundleError> {
        let inside = self.bin().join("kwok");
        let folder = self.folder.parent().and_then(Path::parent).map_or_else(cache_folder, Path::to_path_buf);
        let folder = folder.join("kwok");
        let built = std::fs::read_dir(&folder).into_iter().flatten().flatten().filter_map(|entry| {
            let path = entry.path().join("kwok");
            Some((path.metadata().ok()?.modified().ok()?, path))
        });
        if inside.is_file() {
            return Ok(inside);
        }
        built
            .max()
            .map(|(_, path)| path)
            .ok_or_else(|| BundleError::NoKwok { bundle: self.folder.clone(), folder })
    }

    /// Looks whether every program is there with the length that it was built with. It costs nothing, so every run
    /// does it; [`Bundle::verify`] reads every byte.
    ///
    /// # Errors
    /// When one is missing or has another length.
    pub fn check(&self) -> Result<(), BundleError> {
        for line in self.listing("SIZES")?.lines() {
            let Some((size, file)) = line.split_once("  ") else { continue };
            let path = self.folder.join(file);
            let found = std::fs::metadata(&path)
                .map_err(|error| self.damaged(&path, format!("can not be read: {error}")))?
                .len();
            if found.to_string() != size.trim() {
                return Err(self.damaged(&path, format!("has {found} bytes, not {}", size.trim())));
            }
        }
        Ok(())
    }

    /// Compares every program with its checksum.
    ///
    /// # Errors
    /// When one differs.
    pub fn verify(&self) -> Result<(), BundleError> {
        self.intact().map_err(|damage| self.damaged(&damage.file, damage.reason))
    }

    /// Compares every program with its checksum, wherever the bundle lies.
    ///
    /// # Errors
    /// With the first that differs.
    pub fn intact(&self) -> Result<(), Damage> {
        let listing = self.folder.join("SHA256SUMS");
        let lines = std::fs::read_to_string(&listing)
            .map_err(|error| Damage { file: listing.clone(), reason: format!("can not be read: {error}") })?;
        let mut compared = 0;
        for line in lines.lines() {
            let Some((sum, file)) = line.split_once("  ") else { continue };
            let file = self.folder.join(file);
            let mut hash = Sha256::new();
            let copied = std::fs::File::open(&file).and_then(|mut file| std::io::copy(&mut file, &mut hash));
            if let Err(error) = copied {
                return Err(Damage { file, reason: format!("can not be read: {error}") });
            }
            let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            if found != sum {
                return Err(Damage { file, reason: format!("has checksum {found}, not {sum}") });
            }
            compared += 1;
        }
        if compared == 0 {
            return Err(Damage { file: listing, reason: "names no file".to_owned() });
        }
        Ok(())
    }

    fn listing(&self, name: &str) -> Result<String, BundleError> {
        let path = self.folder.join(name);
        std::fs::read_to_string(&path)
            .map_err(|error| self.damaged(&path, format!("can not be read: {error}")))
    }

    fn damaged(&self, file: &Path, reason: String) -> BundleError {
        BundleError::Damaged { folder: self.folder.clone(), file: file.to_owned(), reason }
    }
}
