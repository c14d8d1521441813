//! Our own programs that go into nodes.

use std::path::PathBuf;

use crate::gpu_programs::GpuPrograms;
use crate::model::Assumptions;
use plimsoll_hog::image::{Image, write_archive};

/// Where the programs lie on this machine.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The init.
    pub node: PathBuf,
    /// The filler.
    pub hog: PathBuf,
    /// What holds a pod's namespaces.
    pub pause: PathBuf,
    /// What plays the kubelets of hollow nodes, for a control plane that has some.
    pub kwok: Option<PathBuf>,
}

impl Programs {
    /// The programs beside this one, where both the build and the release put them.
    ///
    /// # Errors
    /// When one is missing; the message says which and where it was looked for.
    pub fn find() -> std::io::Result<Self> {
        let folder = std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default();
        // A test's own program lies one folder below.
        let folder = if folder.ends_with("deps") {
            folder.parent().map(PathBuf::from).unwrap_or_default()
        } else {
            folder
        };
        let program = |name: &str| {
            let path = folder.join(name);
            if path.is_file() {
                return Ok(path);
            }
            Err(std::io::Error::other(format!(
                "{} is missing: plimsoll runs it inside nodes\nhelp: cargo build --release --workspace builds all programs into one folder",
                path.display()
            )))
        };
        Ok(Self {
            node: program("plimsoll-node")?,
            hog: program("plimsoll-hog")?,
            pause: program("plimsoll-pause")?,
            kwok: None,
        })
    }

    /// What is assumed of a run on this machine: its images are made of these programs, where they are found.
    #[must_use]
    pub fn assumptions() -> Assumptions {
        let size = |path: &PathBuf| std::fs::metadata(path).map(|found| found.len());
        let packed = Self::find().and_then(|own| Ok(size(&own.hog)? + size(&own.pause)?));
        let packed = packed.ok().and_then(|bytes| i64::try_from(bytes).ok());
        packed.map_or_else(Assumptions::default, |bytes| Assumptions::default().with_images(bytes))
    }

    /// The images of the fillers and of the pod sandbox in one archive that containerd imports.
    ///
    /// # Errors
    /// When a program can not be read.
    pub fn images(&self, gpu: Option<&GpuPrograms>) -> std::io::Result<Vec<u8>> {
        let (hog, pause) = (std::fs::read(&self.hog)?, std::fs::read(&self.pause)?);
        let mut archive = Vec::with_capacity(hog.len() + pause.len() + (1 << 16));
        let mut images = vec![Image::hog(&hog), Image::pause(&pause)];
        let gpu = gpu.map(GpuPrograms::hog_files).transpose()?;
        if let Some((program, libraries)) = &gpu {
            images.push(Image::gpu_hog(program, libraries));
        }
        write_archive(&images, &mut archive)?;
        Ok(archive)
    }
}
