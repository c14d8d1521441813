//! Programs for nodes with GPUs. Those that load a driver are linked dynamically, so what they are linked with goes along.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

/// How long the dynamic loader may take to list what a program needs.
const LIST_WITHIN: Duration = Duration::from_secs(20);

/// The dynamic loader's path in programs, by architecture.
#[cfg(target_arch = "x86_64")]
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
/// The dynamic loader's path in programs, by architecture.
#[cfg(not(target_arch = "x86_64"))]
const LOADER: &str = "/lib/ld-linux-aarch64.so.1";

/// Where the programs lie on this machine.
#[derive(Debug, Clone)]
pub struct GpuPrograms {
    /// Device plugin and evictor.
    pub node: PathBuf,
    /// What asks the driver.
    pub reader: PathBuf,
    /// The filler.
    pub hog: PathBuf,
    /// The simulated driver.
    pub driver: PathBuf,
    /// The libraries that they are linked with, as this machine's loader finds them.
    pub libraries: Vec<PathBuf>,
}

impl GpuPrograms {
    /// The programs beside this one, where a release puts them, or in the folder beside its own where `gpu-workloads/build` does.
    ///
    /// # Errors
    /// When one is missing, or what it is linked with can not be found; the message says what to do.
    pub async fn find() -> io::Result<Self> {
        let folder = std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default();
        let folder = if folder.ends_with("deps") {
            folder.parent().map(PathBuf::from).unwrap_or_default()
        } else {
            folder
        };
        let missing = |what: &Path| {
            io::Error::other(format!(
                "{} is missing: nodes with GPUs need it\nhelp: gpu-workloads/build builds what loads a driver, cargo build --workspace the rest",
                what.display()
            ))
        };
        let node = folder.join("plimsoll-gpu-node");
        if !node.is_file() {
            return Err(missing(&node));
        }
        // target/<target>/<profile> and target/gpu/<target>/<profile>. The programs that lie beside this one in the former are static.
        let built = folder.parent().and_then(|target| {
            let name = target.file_name()?;
            Some(target.parent()?.join("gpu").join(name).join(folder.file_name()?))
        });
        let driver = "libplimsoll-simulated-driver.so";
        let dynamic = built.filter(|built| built.join(driver).is_file()).unwrap_or(folder);
        let program = |name: &str| {
            let path = dynamic.join(name);
            if path.is_file() { Ok(path) } else { Err(missing(&path)) }
        };
        let (reader, hog, driver) =
            (program("plimsoll-gpu-reader")?, program("plimsoll-gpu-hog")?, program(driver)?);
        let mut libraries = Vec::new();
        for program in [&reader, &hog, &driver] {
            for library in linked(program).await? {
                if !libraries.contains(&library) {
                    libraries.push(library);
                }
            }
        }
        Ok(Self { node, reader, hog, driver, libraries })
    }

    /// The filler and its libraries, the loader among them, each with its path from the root without the leading slash.
    ///
    /// # Errors
    /// When one can not be read.
    #[expect(clippy::type_complexity, reason = "a program and named files")]
    pub fn hog_files(&self) -> io::Result<(Vec<u8>, Vec<(String, Vec<u8>)>)> {
        let read = |path: &Path| -> io::Result<(String, Vec<u8>)> {
            let name = path.to_string_lossy().trim_start_matches('/').to_owned();
            Ok((name, std::fs::read(path)?))
        };
        let mut libraries = vec![read(Path::new(LOADER))?];
        for library in &self.libraries {
            libraries.push(read(library)?);
        }
        Ok((std::fs::read(&self.hog)?, libraries))
    }

    /// The dynamic loader.
    #[must_use]
    pub fn loader() -> &'static Path {
        Path::new(LOADER)
    }
}

/// The libraries that a program is linked with.
async fn linked(program: &Path) -> io::Result<Vec<PathBuf>> {
    let failed = |why: String| {
        io::Error::other(format!("{}: what it is linked with can not be listed: {why}", program.display()))
    };
    let list = Command::new(LOADER).arg("--list").arg(program).kill_on_drop(true).output();
    let output = tokio::time::timeout(LIST_WITHIN, list)
        .await
        .map_err(|_| failed("the dynamic loader does not end".to_owned()))?
        .map_err(|error| failed(format!("{LOADER}: {error}")))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    parse(&String::from_utf8_lossy(&output.stdout)).map_err(failed)
}

/// Reads the loader's list: `name => path (address)` a line. The loader itself, and what the kernel maps, have no arrow.
fn parse(list: &str) -> Result<Vec<PathBuf>, String> {
    let path = |line: &str| {
        let (name, found) = line.trim().split_once(" => ")?;
        Some(match found.rsplit_once(" (") {
            Some((path, _)) if path.starts_with('/') => Ok(PathBuf::from(path)),
            _ => Err(format!("{name} is not found")),
        })
    };
    list.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_list_is_read() {
        let list = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibgcc_s.so.1 => /lib/x/libgcc_s.so.1 (0x00007f01)\n\
                    \tlibc.so.6 => /lib/x/libc.so.6 (0x00007f02)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f03)\n";
        let paths = ["/lib/x/libgcc_s.so.1", "/lib/x/libc.so.6"].map(PathBuf::from);
        assert_eq!(parse(list), Ok(paths.into()));
        assert_eq!(parse("\tlibx.so => not found\n"), Err("libx.so is not found".to_owned()));
        assert_eq!(parse("\tstatically linked\n"), Ok(Vec::new()));
    }
}
